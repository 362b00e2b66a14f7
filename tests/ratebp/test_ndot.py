"""NDOT against a loop of its own, its bounds by hand, and what it refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError
from ratebp.graph import read
from ratebp.methods.ndot._leaves import NdotLIF, PublishedNdotLIF, Slot, bounded_ratio
from ratebp.methods.ndot._trace_paths import TracePath, trace_paths
from ratebp.models.blocks import parts
from ratebp.models.sew import SEWBlock
from ratebp.ops import spike
from ratebp.testing.gradients import gradients_of

DECAY, THRESHOLD = 0.6, 0.9
lif = partial(ratebp.LIF, decay=DECAY, threshold=THRESHOLD)


def ways_of(model: nn.Module) -> dict[str, TracePath]:
    return trace_paths(model, read(model))


def mlp() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(7, 11), lif(), nn.Linear(11, 9), lif(), nn.Linear(9, 8), lif(), nn.Linear(8, 5)
    )


def pooled() -> nn.Sequential:
    """Pools and flattens between neurons and synapses, and a pool of the raw input."""
    return nn.Sequential(
        nn.AvgPool2d(2),
        nn.Conv2d(2, 6, 3, padding=1),
        lif(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        lif(),
        nn.Dropout(0.0),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 5),
    )


def seeded(make: Callable[[], nn.Sequential]) -> nn.Sequential:
    torch.manual_seed(0)
    model = make().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)  # so that every layer spikes
    return model


def data(make: Callable[[], nn.Sequential], timesteps: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    shape = (7,) if make is mlp else (2, 8, 8)
    return 2 * torch.randn(timesteps, 6, *shape, dtype=torch.float64), torch.arange(6) % 5


class Memory:
    """One neuron layer's whole past, and NDOT's trace of it by the equation."""

    def __init__(self, published: bool) -> None:
        self.u: list[Tensor] = []
        self.s: list[Tensor] = []
        self.a: list[Tensor] = []
        self.published = published

    def e(self, t: int) -> Tensor:
        times = 2 if self.published else 1
        v = [u - times * THRESHOLD * s for u, s in zip(self.u, self.s, strict=True)]
        if t == 0:
            return torch.full_like(v[0], DECAY)
        ratio = v[t] / v[t - 1]
        ratio[~torch.isfinite(ratio)] = DECAY
        bound = torch.full_like(ratio, DECAY)
        return torch.minimum(torch.maximum(ratio, -bound), bound)

    def fire(self, current: Tensor) -> tuple[Tensor, Tensor]:
        left = self.u[-1] - THRESHOLD * self.s[-1] if self.u else torch.zeros_like(current)
        u = DECAY * left + current
        s = spike(u, THRESHOLD, ratebp.LIF().dynamics.surrogate)
        self.u.append(u.detach())
        self.s.append(s.detach())
        t = len(self.u) - 1
        past = self.e(t if self.published else t - 1) * self.a[-1] if t else 0
        self.a.append(past + s.detach())
        return s, self.a[-1]


def loop(
    model: nn.Sequential,
    x: Tensor,
    y: Tensor,
    after_step: Callable[[], object] = lambda: None,
    *,
    published: bool = False,
) -> dict[int, Memory]:
    """NDOT by autograd: a term of value zero carries each weight's gradient at its trace."""
    memories = {i: Memory(published) for i, m in enumerate(model) if isinstance(m, ratebp.LIF)}
    first, ones = torch.zeros_like(x[0]), 0.0
    for now in x.unbind(0):
        first, ones = DECAY * first + now, DECAY * ones + 1
        h, a = now, first
        for index, layer in enumerate(model):
            if index in memories:
                h, a = memories[index].fire(h)
            elif isinstance(layer, nn.Linear | nn.Conv2d):
                weight, bias = layer.weight, layer.bias
                apply = F.linear if isinstance(layer, nn.Linear) else partial(F.conv2d, padding=1)
                zero = apply(a, weight - weight.detach(), ones * (bias - bias.detach()))
                h = apply(h, weight.detach(), bias.detach()) + zero
            else:
                h, a = layer(h), layer(a)
        (F.cross_entropy(h, y) / x.shape[0]).backward()
        after_step()
    return memories


@pytest.mark.parametrize("make", [mlp, pooled])
@pytest.mark.parametrize("potential", ["formula", "published"])
def test_ndot_a_equals_an_unrolled_loop(make: Callable[[], nn.Sequential], potential: str) -> None:
    x, y = data(make, 5)
    model = seeded(make)
    got = gradients_of("ndot_a", model, x, y, potential=potential)
    model.zero_grad()
    memories = loop(model, x, y, published=potential == "published")
    for a, p in zip(got, model.parameters(), strict=True):
        assert p.grad is not None
        assert float(p.grad.norm()) > 0
        torch.testing.assert_close(a, p.grad, rtol=1e-12, atol=1e-14)
    for memory in memories.values():  # the bounds and what lies between them both occur
        e = memory.e(3)
        assert (e == DECAY).any()
        assert (e == -DECAY).any()
        assert (e.abs() < DECAY).any()


@pytest.mark.parametrize("make", [mlp, pooled])
def test_ndot_o_equals_the_loop_with_an_update_after_each_step(
    make: Callable[[], nn.Sequential],
) -> None:
    x, y = data(make, 4)
    model, twin = seeded(make), seeded(make)
    start = [p.detach().clone() for p in model.parameters()]
    context = ratebp.StepContext(torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9))
    ratebp.methods.get("ndot_o").bind(model, 4).step(x, y, context=context)
    other = ratebp.StepContext(torch.optim.SGD(twin.parameters(), lr=0.3, momentum=0.9))
    loop(twin, x, y, other.update)
    for before, a, b in zip(start, model.parameters(), twin.parameters(), strict=True):
        assert not torch.equal(a, before)
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_the_published_code_and_ottt_differ_only_where_spikes_arrive() -> None:
    x, y = data(mlp, 4)
    variants = [("ndot_a", {}), ("ndot_a", {"potential": "published"}), ("ottt_a", {})]
    formula, published, ottt = (gradients_of(n, seeded(mlp), x, y, **o) for n, o in variants)
    names = [n for n, _ in mlp().named_parameters()]
    for other in (published, ottt):
        same = [n for n, a, b in zip(names, formula, other, strict=True) if torch.allclose(a, b)]
        assert same == ["0.weight", *(n for n in names if n.endswith("bias"))]


def test_ratios_are_bounded_and_fall_back_to_the_decay() -> None:
    now = torch.tensor([0.1, -0.1, 3.0, -3.0, 0.0, 1.0, -1.0, 0.0, float("nan")])
    last = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    want = torch.tensor([0.1, -0.1, 0.5, -0.5, 0.0, 0.5, 0.5, 0.5, 0.5])
    torch.testing.assert_close(bounded_ratio(now, last, 0.5), want)


@pytest.mark.parametrize(
    ("neuron", "reset", "traces"),
    [
        # v = .5 .35 .175 and .5 .1 -.5: e = .5 (from rest) .5 .5 and .5 .2 -.5
        (NdotLIF, "soft", [[1.0, 0.5, 1.25, 0.625], [1.0, 0.5, 0.1, -0.05]]),
        # v = 0 .1 0 and 0 -.15 -.625: e = .5 (0/0) .5 (from 0) 0 and .5 .5 .5
        (NdotLIF, "hard", [[1.0, 0.5, 1.25, 0.0], [1.0, 0.5, 0.25, 0.125]]),
        # v = -.5 .35 -.825 .5875 and -.5 .1 -.5 -.25: e = - -.5 -.5 -.5 and - -.2 -.5 .5
        (PublishedNdotLIF, "soft", [[1.0, -0.5, 1.25, -0.625], [1.0, -0.2, 0.1, 0.05]]),
    ],
)
def test_the_trace_by_hand(neuron: type[NdotLIF], reset: str, traces: list[list[float]]) -> None:
    slot = Slot()
    leaf = neuron(ratebp.LIF(decay=0.5, reset=reset), slot)
    currents = torch.tensor([[1.5, 0.1, 1.0, 0.5], [1.5, -0.15, -0.55, 0.0]])
    got = []
    for current in currents.T:
        leaf(current)
        assert slot.trace is not None
        got.append(slot.trace)
    torch.testing.assert_close(torch.stack(got, 1), torch.tensor(traces))
    leaf.reset()
    assert slot.trace is None


class Through(nn.Module):
    """Linear, neuron, `between`, linear."""

    def __init__(self, between: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.lif, self.last = nn.Linear(4, 4), ratebp.LIF(), nn.Linear(4, 3)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        current = self.first(x)
        out: Tensor = self.last(self.between(self.lif(current), current))
        return out


def branch(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


def stack(*between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), lif(), *between, nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Through(lambda s, c: s + c), r"`last` through `add` .*, where .* \(`lif` and `first`\)"),
        (Through(lambda s, _: s * s), r"synapse `last` through `mul` .*Between"),
        (Through(lambda s, _: s + 1), r"synapse `last` through `add` .*Between"),
        (Through(lambda s, _: torch.add(input=s, other=1)), r"`last` through `add` .*Between"),
        (Through(lambda s, _: s.add_(s)), r"`last` through `add_` .*Between"),
        (Through(lambda s, _: torch.relu(s)), r"synapse `last` through `relu` .*Between"),
        (Through(lambda s, _: branch(s)), "cannot be cut into pieces"),
        (stack(nn.Dropout(0.1)), r"synapse `3` through `2` \(Dropout\)"),
        (stack(nn.BatchNorm1d(4)), r"synapse `3` through `2` \(BatchNorm1d\)"),
        (ratebp.models.build("sew_resnet34", width=0.05), r"through `stem.pool` \(MaxPool2d\)"),
    ],
)
def test_what_traces_cannot_pass_is_refused_by_name(model: nn.Module, message: str) -> None:
    method = ratebp.methods.get("ndot_a")
    wiring = ratebp.Wiring({}, {}, {}, frozenset())  # so that only this method reads the graph
    with pytest.raises(BindError, match=message) as caught:
        method.bind(model, 2, wiring=wiring)
    assert re.search("ottt_a|bptt_s", str(caught.value))


def test_sums_multiples_and_views_are_taken() -> None:
    model = Through(lambda s, _: 2 * (s + s).view(s.shape[0], -1) * 0.5)
    x, y = torch.randn(4, 3, 4), torch.tensor([0, 1, 2])
    plain = Through(lambda s, _: 2 * s)
    plain.load_state_dict(model.state_dict())
    got, want = (gradients_of("ndot_a", m, 4 * x, y) for m in (model, plain))
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize(
    "pool",
    [
        lambda s: F.adaptive_avg_pool2d(s, 1).flatten(1),
        lambda s: torch.flatten(F.avg_pool2d(s, 8), 1),
        lambda s: s.mean((2, 3)),
    ],
)
def test_pools_may_be_written_as_functions(pool: Callable[[Tensor], Tensor]) -> None:
    class Net(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self[2](pool(self[1](self[0](x))))
            return out

    way = ways_of(Net(nn.Conv2d(2, 3, 1), lif(), nn.Linear(3, 5)))["2"]
    assert way.neurons == ("1",)
    trace = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(way.plumbing(trace), trace.mean((2, 3)))


def test_a_synapse_behind_a_synapse_has_a_trace_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(4, 4), lif(), nn.Linear(4, 4), nn.Linear(4, 3))
    assert set(ways_of(model)) == {"2"}
    assert len(gradients_of("ndot_a", model, torch.randn(3, 2, 4), torch.tensor([0, 1]))) == 6


def test_residual_sums_of_spikes_add_their_traces() -> None:
    block = SEWBlock(4, 4, 1, parts(None))
    ways = ways_of(nn.Sequential(nn.Conv2d(1, 4, 1), ratebp.LIF(), block, nn.Conv2d(4, 3, 1)))
    neurons = {path: way.neurons for path, way in ways.items()}
    second = {"2.second.conv": ("2.first.lif",), "3": ("2.second.lif", "1")}
    assert neurons == {"2.first.conv": ("1",), **second}
    assert float(ways["3"].plumbing(torch.ones(()), 2 * torch.ones(()))) == 3


@pytest.mark.parametrize("name", ["resnet18", "preact_resnet34"])
def test_spikes_may_meet_currents_on_the_way_to_a_neuron(name: str) -> None:
    ways = ways_of(ratebp.models.build(name, width=0.05))
    assert len(ways) > 16
    assert {len(way.neurons) for way in ways.values()} == {1}
