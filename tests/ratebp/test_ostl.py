"""OSTL: exact for one recurrent layer, the equation of deeper ones, and what is refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp import LIF, Recurrent
from ratebp.errors import BindError
from ratebp.testing import seeded_step
from ratebp.testing.gradients import differences

from .test_recurrent import data, lif, linear, loop, network

RESETS = list(itertools.product(("soft", "hard"), (True, False)))


def gradients(method: str, model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> Any:
    model.zero_grad()
    seeded_step(ratebp.methods.get(method, **options).bind(model, len(x)), x, y)
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def one_layer(kind: str, detach: bool, bias: bool) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(7, 6, bias=bias), Recurrent(linear(6, bias), lif(kind, detach)), nn.Linear(6, 3)
    )
    return model.double()


@pytest.mark.parametrize("timesteps", [2, 5])
@pytest.mark.parametrize(("kind", "detach"), RESETS)
def test_one_recurrent_layer_has_the_gradient_of_bptt(
    kind: str, detach: bool, timesteps: int
) -> None:
    x, y = data(timesteps)
    for bias in (True, False):
        model = one_layer(kind, detach, bias)
        want = gradients("bptt_s", model, x, y, loss_mode="per_step")
        assert float(want["1.synapse.weight"].norm()) > 0
        assert differences(gradients("ostl", model, x, y), want, 1e-12) == {}


def test_it_equals_bptt_with_the_past_of_each_layer_hidden_from_those_before() -> None:
    """Two recurrent layers: BPTT of the first, for the signals that reach it within each step."""
    model, (x, y) = network(lif("hard", False), lif("soft", False)), data(5)
    got = gradients("ostl", model, x, y)
    exact = gradients("bptt_s", model, x, y, loss_mode="per_step")
    last = [n for n in got if n.startswith(("2", "3", "4"))]
    assert differences({n: got[n] for n in last}, {n: exact[n] for n in last}, 1e-12) == {}

    model.zero_grad()
    first = loop(model[0](x), model[1])
    heard = first.detach().requires_grad_()
    current = model[2](heard)
    # The value of the whole loop, with the slope of this step's current alone.
    second = loop(current.detach(), model[3])
    d, u = model[3].neuron.dynamics, potentials(current.detach(), model[3])
    slope = d.surrogate.derivative(u - d.threshold).detach()
    out = model[4](second.detach() + slope * (current - current.detach()))
    torch.stack([F.cross_entropy(now, y) for now in out]).mean().backward()
    first.backward(heard.grad)
    want = {n: model.get_parameter(n).grad for n in got if n.startswith(("0", "1"))}
    assert all(g is not None and float(g.norm()) > 0 for g in want.values())
    assert differences({n: got[n] for n in want}, want, 1e-12) == {}  # type: ignore[arg-type]
    assert differences({n: exact[n] for n in want}, want, 1e-2) != {}  # type: ignore[arg-type]


def potentials(current: Tensor, layer: Any) -> Tensor:
    """Return the potentials of a soft-reset layer, ``[T, B, N]``."""
    d, u, found = layer.neuron.dynamics, torch.zeros_like(current[0]), []
    s = torch.zeros_like(u)
    for now in current.unbind(0):
        u = d.decay * (u - d.threshold * s) + now + layer.synapse(s)
        s = (u >= d.threshold).to(u)
        found.append(u)
    return torch.stack(found)


def test_a_silent_recurrence_is_ottt() -> None:
    """Soft and detached, without connections: the influences are OTTT's traces."""
    model, (x, y) = network(lif("soft", True), lif("soft", True)), data(5)
    plain = network(lif("soft", True), lif("soft", True))
    for index in (1, 3):
        for parameter in model[index].synapse.parameters():
            nn.init.zeros_(parameter)
        plain[index] = plain[index].neuron
    got = gradients("ostl", model, x, y)
    want = gradients("ottt_a", plain, x, y, placement="spiking")
    assert differences({n: got[n] for n in want}, want, 1e-12) == {}


def test_leading_dimensions_are_samples() -> None:
    model, (x, y) = one_layer("hard", False, True), data(4)
    sequence = nn.Sequential(nn.Unflatten(1, (1, 7)), *model[:2], nn.Flatten(), model[2])
    got = gradients("ostl", sequence, x, y)
    want = gradients("ostl", model, x, y)
    assert differences(dict(zip(want, got.values(), strict=True)), want, 1e-12) == {}


@pytest.mark.deep
def test_it_compiles_as_one_graph_and_keeps_influences_in_float32() -> None:
    model, (x, y) = network(lif("soft", True), lif("hard", False)), data(3)
    eager = gradients("ostl", model, x, y)
    torch.compiler.reset()
    model.zero_grad()
    bound = ratebp.methods.get("ostl").bind(
        model, 3, wrap=lambda m, _: torch.compile(m, fullgraph=True, backend="aot_eager")
    )
    bound.step(x, y)
    compiled = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert differences(compiled, eager, 1e-11) == {}
    single, (x, y) = model.float(), data(3, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gradients("ostl", single, x, y)
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in got.values())


def between(*middle: nn.Module) -> nn.Sequential:
    layer = Recurrent(nn.Linear(6, 6), LIF())
    return nn.Sequential(nn.Linear(7, 6), *middle, layer, nn.Linear(6, 3))


@pytest.mark.parametrize(
    "middle",
    [
        (nn.BatchNorm1d(6),),
        (nn.Linear(6, 6),),
        (nn.Dropout(0.0),),
        (LIF(),),
    ],
    ids=["norm", "another synapse", "dropout", "a neuron"],
)
def test_only_a_synapse_may_stand_before_a_recurrent_layer(middle: Any) -> None:
    with pytest.raises(BindError, match=r"straight before the Recurrent at `2`"):
        ratebp.methods.get("ostl").bind(between(*middle), 2)


class Sums(nn.Module):
    """Two synapses into one recurrent layer, or one into it and past it."""

    def __init__(self, *, fork: bool) -> None:
        super().__init__()
        self.a, self.b, self.fork = nn.Linear(7, 6), nn.Linear(7, 6), fork
        self.layer, self.head = Recurrent(nn.Linear(6, 6), LIF()), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        current = self.a(x) if self.fork else self.a(x) + self.b(x)
        spikes = self.layer(current)
        out: Tensor = self.head(spikes + current if self.fork else spikes)
        return out


@pytest.mark.parametrize("fork", [True, False])
def test_sums_and_forks_before_a_recurrent_layer_are_refused(fork: bool) -> None:
    with pytest.raises(BindError, match=r"straight before the Recurrent at `layer`"):
        ratebp.methods.get("ostl").bind(Sums(fork=fork), 2)


def test_a_recurrent_model_that_cannot_be_traced_is_refused() -> None:
    class Choosy(Sums):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x if x.sum() > 0 else -x)

    wiring = ratebp.wiring.trace(Sums(fork=False))
    with pytest.raises(
        BindError, match=r"forward of Choosy depends on the values.*train with bptt_s"
    ):
        ratebp.methods.get("ostl").bind(Choosy(fork=False), 2, wiring=wiring)


def test_a_recurrent_convolution_is_refused_by_place() -> None:
    conv = Recurrent(nn.Conv1d(4, 4, 3, padding=1), LIF())
    model = nn.Sequential(nn.Conv1d(2, 4, 3), conv, nn.Flatten(), nn.Linear(20, 3))
    with pytest.raises(BindError, match=r"no influence rule for the Conv1d.*at `1`.*eprop"):
        ratebp.methods.get("ostl").bind(model, 2)


@pytest.mark.parametrize(("kind", "detach"), [("hard", True), ("soft", False)])
def test_a_reset_that_a_trace_cannot_follow_is_refused_by_place(kind: str, detach: bool) -> None:
    model = nn.Sequential(nn.Linear(7, 6), lif(kind, detach), nn.Linear(6, 3))
    with pytest.raises(BindError, match=rf"reset='{kind}', detach_reset={detach} at `1`.*ottt_a"):
        ratebp.methods.get("ostl").bind(model, 2)
