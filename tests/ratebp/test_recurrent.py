"""Recurrent layers: value and every gradient against plain autograd loops, and who trains them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp import ALIF, LIF, PLIF, PSN, Recurrent
from ratebp.activity import firing_rates
from ratebp.errors import BindError, OptionError, UnboundError
from ratebp.rules.neurons.exact import scan_neuron, step_neuron
from ratebp.testing import Problem, seeded_step
from ratebp.testing.gradients import differences
from ratebp.testing.kept import kept_bytes

from .reference_neurons import assert_equal, fire, gradients_of
from .test_neurons_adaptive import reset

RESETS = list(itertools.product(("soft", "hard"), (True, False)))


def lif(kind: str, detach: bool) -> LIF:
    return LIF(0.7, 0.8, kind, detach, "atan", 2.0)


def loop(current: Tensor, layer: Any) -> Tensor:
    """One layer over ``[T, B, ...]``, as its equation is written."""
    d = layer.neuron.dynamics
    rest = s = torch.zeros_like(current[0])
    spikes = []
    for t in range(len(current)):
        u = d.decay * rest + current[t] + layer.synapse(s)
        s = fire(u - d.threshold)
        rest = reset(u, s, d.reset, d.detach_reset, d.threshold)
        spikes.append(s)
    return torch.stack(spikes)


def linear(units: int, bias: bool = True) -> nn.Module:
    layer = nn.Linear(units, units, bias=bias)
    nn.init.normal_(layer.weight, std=1.0)
    return layer


SHAPES: list[tuple[tuple[int, ...], Any]] = [
    ((1, 1, 1), lambda: linear(1)),
    ((2, 3, 5), lambda: linear(5, bias=False)),
    ((5, 1, 63), lambda: linear(63)),
    ((4, 2, 3, 7), lambda: linear(7)),
    ((3, 2, 3, 5, 1), lambda: nn.Conv2d(3, 3, 3, padding=1)),
    ((5, 3, 4, 7), lambda: nn.Conv1d(4, 4, 3, padding=1, groups=2, bias=False)),
]


@pytest.mark.parametrize(("shape", "synapse"), SHAPES, ids=[str(shape) for shape, _ in SHAPES])
@pytest.mark.parametrize(("kind", "detach"), RESETS)
def test_both_leaves_equal_the_loop(
    shape: tuple[int, ...], synapse: Any, kind: str, detach: bool
) -> None:
    torch.manual_seed(0)
    layer = Recurrent(synapse(), lif(kind, detach)).double()
    current = 2 * torch.randn(shape, dtype=torch.float64)
    want = gradients_of(lambda x: loop(x, layer), current, layer)
    scan, step = scan_neuron(layer, shape[0]), step_neuron(layer)

    def stepwise(x: Tensor) -> Tensor:
        step.reset()
        return torch.stack([step(now) for now in x.unbind(0)])

    assert_equal(gradients_of(lambda x: scan(x.flatten(0, 1)).view_as(x), current, layer), want)
    assert_equal(gradients_of(stepwise, current, layer), want)
    with torch.no_grad():
        assert torch.equal(scan(current.flatten(0, 1)).view(shape), want[0])


def network(*neurons: Any, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Return 7 -> 6 -> 5 -> 3 with two recurrent layers of the given neurons."""
    torch.manual_seed(0)
    first, second = neurons
    model = nn.Sequential(
        nn.Linear(7, 6),
        Recurrent(linear(6), first),
        nn.Linear(6, 5),
        Recurrent(linear(5, bias=False), second),
        nn.Linear(5, 3),
    )
    with torch.no_grad():
        for index in (0, 2):
            model[index].weight.mul_(2.5)
    return model.to(dtype)


def data(timesteps: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(timesteps, 4, 7, dtype=dtype), torch.arange(4) % 3


def gradients(method: str, model: nn.Module, x: Tensor, y: Tensor, **bind: Any) -> Any:
    model.zero_grad()
    options = {"loss_mode": "per_step"} if method.startswith("bptt") else {}
    bound = ratebp.methods.get(method, **options).bind(model, len(x), **bind)
    seeded_step(bound, x, y)
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("timesteps", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("kind", "detach"), RESETS)
def test_a_network_trains_by_exact_gradients(timesteps: int, kind: str, detach: bool) -> None:
    """E16 with it: both layouts give the gradients of one plain loop."""
    model, (x, y) = network(lif(kind, detach), lif(kind, detach)), data(timesteps)
    found = {name: gradients(name, model, x, y) for name in ("bptt_m", "bptt_s")}
    model.zero_grad()
    steps = loop(model[0](x), model[1])
    out = model[4](loop(model[2](steps), model[3]))
    torch.stack([F.cross_entropy(now, y) for now in out]).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        silent = timesteps == 1 and name.endswith("synapse.weight")  # nothing was heard yet
        assert bool(parameter.grad.any()) != silent, name
        for got in found.values():
            torch.testing.assert_close(got[name], parameter.grad, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PLIF(0.5, 0.4, "soft", False),
        lambda: ALIF(0.7, 0.8, "hard", False),
        lambda: ratebp.SlidingPSN(2, 0.5),
    ],
    ids=["plif", "alif", "sliding_psn"],
)
def test_other_neurons_hear_themselves_too(make: Any) -> None:
    """E16; and a layer that hears nothing is the neuron alone, to the bit."""
    model, (x, y) = network(make(), make()), data(4)
    multi, single = gradients("bptt_m", model, x, y), gradients("bptt_s", model, x, y)
    assert set(multi) == {n for n, _ in model.named_parameters()}
    assert differences(multi, single, 1e-11) == {}
    alone = Recurrent(nn.Linear(5, 5), make()).double()
    nn.init.zeros_(alone.synapse.weight)
    nn.init.zeros_(alone.synapse.bias)
    current = 2 * torch.randn(4 * 3, 5, dtype=torch.float64)
    assert torch.equal(scan_neuron(alone, 4)(current), scan_neuron(alone.neuron, 4)(current))


def test_a_spike_is_heard_one_step_later() -> None:
    """By hand: unit 0 is driven once, unit 1 hears it once, and nobody else."""
    layer = Recurrent(nn.Linear(3, 3, bias=False), LIF(decay=0.0))
    with torch.no_grad():
        layer.synapse.weight.copy_(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]))
    current = torch.zeros(4, 1, 3)
    current[0, 0, 0] = 1
    spikes = scan_neuron(layer, 4)(current.flatten(0, 1))
    assert spikes.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_inference_and_firing_rates_run_the_loop() -> None:
    model, (x, _) = network(lif("soft", True), lif("hard", True)), data(5)
    first = loop(model[0](x), model[1])
    second = loop(model[2](first), model[3])
    torch.testing.assert_close(ratebp.infer(model, x), model[4](second).mean(0))
    for layout in ("multi", "single"):
        rates = firing_rates(model, x, layout=layout)
        assert list(rates) == ["1", "3"]
        torch.testing.assert_close(rates["1"], first.detach().mean((1, 2)))
        torch.testing.assert_close(rates["3"], second.detach().mean((1, 2)))


def test_a_model_may_change_the_spikes_in_place() -> None:
    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(2)

    x, y = data(4)
    for method in ("bptt_s", "eprop"):
        found = []
        for factor in (1.0, 2.0):
            model = network(lif("soft", True), lif("soft", True))
            with torch.no_grad():
                model[4].weight.mul_(2 / factor)
            if factor == 2:
                model[3] = nn.Sequential(model[3], Doubled())
            found.append(gradients(method, model, x, y))
        torch.testing.assert_close(found[1]["0.weight"], found[0]["0.weight"])


@pytest.mark.deep
@pytest.mark.parametrize("method", ["bptt_m", "bptt_s", "eprop"])
def test_it_compiles_as_one_graph_and_runs_under_autocast(method: str) -> None:
    model, (x, y) = network(lif("soft", True), lif("soft", True)), data(3)
    eager = gradients(method, model, x, y)
    torch.compiler.reset()
    compiled = gradients(
        method,
        model,
        x,
        y,
        wrap=lambda m, _: torch.compile(m, fullgraph=True, backend="aot_eager"),
    )
    assert differences(compiled, eager, 1e-11) == {}
    single, (x, y) = model.float(), data(3, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gradients(method, single, x, y)
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in got.values())


@pytest.mark.parametrize("method", ["bptt_m", "bptt_s", "eprop", "ostl"])
def test_memory_class_holds_for_recurrent_layers(method: str) -> None:
    kept = {}
    for timesteps in (2, 4, 8):
        case = Problem(network(lif("soft", True), lif("soft", True)), *data(timesteps))
        kept[timesteps] = kept_bytes(ratebp.methods.get(method), case)
    linear_in_t = ratebp.methods.get(method).info.memory == "linear"
    assert kept[8] - kept[4] == 2 * (kept[4] - kept[2])
    assert (kept[4] > kept[2]) == linear_in_t


@pytest.mark.parametrize("name", sorted(ratebp.methods.names()))
def test_every_method_trains_it_or_names_who_does(name: str) -> None:
    model, (x, y) = network(lif("soft", True), lif("soft", True)), data(3)
    if issubclass(Recurrent, ratebp.methods.get(name).neurons):
        assert set(gradients(name, model, x, y)) == {n for n, _ in model.named_parameters()}
    else:
        with pytest.raises(BindError, match=r"neuron Recurrent at `1`.*bptt_m or bptt_s"):
            ratebp.methods.get(name).bind(model, 3)


@pytest.mark.parametrize(
    ("synapse", "neuron", "message"),
    [
        (None, LIF(), "synapse None of a Recurrent is no module"),
        (nn.Linear(3, 3), nn.ReLU(), "is ReLU, which cannot hear.*Legal: LIF"),
        (nn.Linear(3, 3), PSN(4), "is PSN, which cannot hear"),
        (nn.Linear(3, 3), Recurrent(nn.Linear(3, 3), LIF()), "is Recurrent, which cannot hear"),
    ],
)
def test_what_cannot_be_recurrent_is_refused(synapse: Any, neuron: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Recurrent(synapse, neuron)


@pytest.mark.parametrize("method", ["bptt_m", "bptt_s", "eprop"])
def test_what_cannot_connect_a_layer_to_itself_is_refused(method: str) -> None:
    x, y = data(2)
    many = nn.Sequential(nn.Linear(7, 6), Recurrent(nn.Sequential(nn.Linear(6, 6)), LIF()))
    bind = ratebp.methods.get(method).bind
    with pytest.raises(BindError, match="Sequential connects a Recurrent layer to itself"):
        bind(nn.Sequential(*many, nn.Linear(6, 3)).double(), 2)
    narrow = nn.Sequential(nn.Linear(7, 6), Recurrent(nn.Linear(6, 1), LIF()), nn.Linear(6, 3))
    with pytest.raises(BindError, match=r"gives \(\d+, 1\) for the spikes.*\(\d+, 6\)"):
        bind(narrow.double(), 2).step(x, y)


def test_it_refuses_to_run_itself() -> None:
    with pytest.raises(UnboundError, match="Bind a method first"):
        Recurrent(nn.Linear(3, 3), LIF())(torch.zeros(1, 3))
