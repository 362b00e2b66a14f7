"""E-prop: the factorisation on a recurrent layer, the broadcast signals, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.errors import BindError
from ratebp.methods.eprop._feedback import feedback_matrix
from ratebp.methods.eprop._leaves import EpropLeaves
from ratebp.ops import spike
from ratebp.rules import DetachedLIF, Trace, TracedSynapse
from ratebp.rules.neurons.exact import step_neuron
from ratebp.testing import seeded_step
from ratebp.testing.gradients import differences

DECAY = 0.6


def test_e13_eligibility_times_the_total_derivative_is_bptt_of_a_recurrent_layer() -> None:
    """E13, of the leaves that e-prop trains with, on input, recurrent and bias weights."""
    torch.manual_seed(0)
    timesteps, units = 7, 6
    into = nn.Linear(4, units).double()
    back = nn.Linear(units, units, bias=False).double()
    out = nn.Linear(units, 3).double()
    for layer in (into, back):
        nn.init.normal_(layer.weight, std=1.5)
    x, y = 1.5 * torch.randn(timesteps, 5, 4, dtype=torch.float64), torch.arange(5) % 3
    lif = ratebp.LIF(decay=DECAY)
    d = lif.dynamics

    spikes, u = [torch.zeros(5, units, dtype=torch.float64)], torch.zeros(())
    loss = torch.zeros((), dtype=torch.float64)
    for now in x:
        last = (u >= d.threshold).double()
        u = DECAY * (u - d.threshold * last) + into(now) + back(spikes[-1])
        spikes.append(spike(u, d.threshold, d.surrogate))
        spikes[-1].retain_grad()
        loss = loss + F.cross_entropy(out(spikes[-1]), y)
    assert 0.1 < float(torch.stack(spikes[1:]).detach().mean()) < 0.9
    loss.backward()
    weights = [into.weight, into.bias, back.weight]
    want = {str(k): w.grad.clone() for k, w in enumerate(weights) if w.grad is not None}
    into.zero_grad(), back.zero_grad()

    from_input, from_spikes = (TracedSynapse(s, Trace(DECAY)) for s in (into, back))
    neuron, seen = DetachedLIF(lif), torch.zeros_like(spikes[0])
    for now, s in zip(x, spikes[1:], strict=True):
        seen = neuron(from_input(now) + from_spikes(seen.detach()))
        assert torch.equal(seen, s)
        assert s.grad is not None
        seen.backward(s.grad)  # the total derivative of the loss by this step's spikes
    got = {str(k): w.grad for k, w in enumerate(weights) if w.grad is not None}
    assert differences(got, want, 1e-13) == {}


@pytest.mark.parametrize("bias", [True, False])
def test_e13_the_leaves_of_a_recurrent_layer_with_the_total_derivative(bias: bool) -> None:
    """E13 again, of the very leaves that eprop puts in, against bptt_s's."""
    torch.manual_seed(0)
    into = nn.Linear(4, 6, bias=bias)
    layer = ratebp.Recurrent(nn.Linear(6, 6, bias=bias), ratebp.LIF(DECAY))
    model = nn.Sequential(into, layer, nn.Linear(6, 3)).double()
    for each in (into, layer.synapse):
        nn.init.normal_(each.weight, std=1.5)
    x, y = 1.5 * torch.randn(7, 5, 4, dtype=torch.float64), torch.arange(5) % 3

    exact = step_neuron(layer)
    spikes = [exact(into(now)) for now in x]
    sum(F.cross_entropy(model[2](s), y) for s in spikes).backward()
    signals = [total_derivative(k, into, layer, model[2], x, y) for k in range(len(x))]
    names = [n for n, _ in model.named_parameters() if n[0] in "01"]
    want = {n: model.get_parameter(n).grad for n in names}
    model.zero_grad()

    binding = ratebp.methods.get("eprop").bind(model, len(x))._binding
    leaves = EpropLeaves(binding, listens=("1",), ends=("2",), drifts=())
    synapse, neuron = leaves.synapse(into, "0"), leaves.neuron(layer, "1")
    for now, signal, s in zip(x, signals, spikes, strict=True):
        seen = neuron(synapse(now))
        assert torch.equal(seen, s)
        seen.backward(signal)
    assert all(g is not None and float(g.norm()) > 0 for g in want.values())
    got = {n: model.get_parameter(n).grad for n in names}
    assert differences(got, want, 1e-12) == {}  # type: ignore[arg-type]


def total_derivative(
    index: int, into: nn.Module, layer: Any, readout: nn.Module, x: Tensor, y: Tensor
) -> Tensor:
    """Return the derivative of the loss by the spikes of step `index`, all later steps included."""
    neuron, loss = step_neuron(layer), torch.zeros((), dtype=torch.float64)
    for k, now in enumerate(x):
        s = neuron(into(now))
        if k == index:
            # What is heard at the next step is this step's spikes, as the readout's are.
            s = chosen = neuron.spikes = s.detach().requires_grad_()
        loss = loss + F.cross_entropy(readout(s), y)
    (found,) = torch.autograd.grad(loss, chosen)
    return found


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(7, 11), ratebp.LIF(DECAY), nn.Linear(11, 9), ratebp.LIF(DECAY), nn.Linear(9, 5)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)  # so that every layer spikes
    return model.double()


def data(timesteps: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(timesteps, 6, 7, dtype=torch.float64), torch.arange(6) % 5


def by_the_sums(
    model: nn.Sequential, x: Tensor, y: Tensor, signals: dict[int, Tensor]
) -> dict[str, Tensor]:
    """The equation without autograd; `signals` are the feedback matrices of neurons 1 and 3."""
    grads = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
    u: dict[int, Any] = dict.fromkeys((1, 3), 0.0)
    s: dict[int, Any] = dict.fromkeys((1, 3), 0.0)
    a: dict[int, Any] = dict.fromkeys((0, 2), 0.0)
    ones = 0.0
    for now in x:
        out, h, ones = now, {}, DECAY * ones + 1
        for index in (0, 2):
            a[index] = DECAY * a[index] + out
            current = out @ model[index].weight.T + model[index].bias
            u[index + 1] = DECAY * (u[index + 1] - s[index + 1]) + current
            s[index + 1] = out = (u[index + 1] >= 1).double()
            p = torch.sigmoid(4 * (u[index + 1] - 1))
            h[index] = 4 * p * (1 - p)
        logits = out @ model[4].weight.T + model[4].bias
        d = (logits.softmax(-1) - F.one_hot(y, 5)) / (len(y) * len(x))
        grads["4.weight"] += d.T @ out
        grads["4.bias"] += d.sum(0)
        for index in (0, 2):
            signal = (d @ signals[index + 1].T) * h[index]
            grads[f"{index}.weight"] += signal.T @ a[index]
            grads[f"{index}.bias"] += ones * signal.sum(0)
    return {n: g.detach() for n, g in grads.items()}


@pytest.mark.parametrize("feedback", ["symmetric", "random", "adaptive"])
def test_eprop_equals_its_sums_written_out(feedback: str) -> None:
    model, (x, y) = mlp(), data(5)
    start = model[4].weight.detach().clone()
    bound = ratebp.methods.get("eprop", feedback=feedback, seed=3).bind(model, 5)
    with torch.no_grad():
        model[4].weight.add_(0.3 * torch.randn_like(start))  # what updates would do
    seeded_step(bound, x, y)
    got = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    fixed = [feedback_matrix(11, 5, 3, x.device), feedback_matrix(9, 5, 3 + 7919, x.device)]
    first, last = (b.double() for b in fixed)
    weight = model[4].weight.detach()
    second = {"symmetric": weight.T, "random": last, "adaptive": last + (weight - start).T}
    want = by_the_sums(model, x, y, {1: first, 3: second[feedback]})
    assert differences(got, want, 1e-12) == {}


@pytest.mark.parametrize("feedback", ["symmetric", "random", "adaptive"])
def test_eprop_of_a_recurrent_layer_equals_its_sums_written_out(feedback: str) -> None:
    torch.manual_seed(0)
    layer = ratebp.Recurrent(nn.Linear(9, 9), ratebp.LIF(DECAY))
    model: Any = nn.Sequential(nn.Linear(7, 9), layer, nn.Linear(9, 5)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.5)
    (x, y), start = data(5), model[2].weight.detach().clone()
    bound = ratebp.methods.get("eprop", feedback=feedback, seed=3).bind(model, 5)
    with torch.no_grad():
        model[2].weight.add_(0.3 * torch.randn_like(start))
    seeded_step(bound, x, y)
    weight, fixed = model[2].weight.detach(), feedback_matrix(9, 5, 3, x.device).double()
    signal = {"symmetric": weight.T, "random": fixed, "adaptive": fixed + (weight - start).T}

    want = {n: torch.zeros_like(p) for n, p in model.named_parameters()}
    u = s = torch.zeros(6, 9, dtype=torch.float64)
    a: Any = 0.0
    b: Any = 0.0
    ones = 0.0
    for now in x:
        a, b, ones = DECAY * a + now, DECAY * b + s, DECAY * ones + 1
        u = DECAY * (u - s) + model[0](now) + layer.synapse(s)
        s = (u >= 1).double()
        d = (model[2](s).softmax(-1) - F.one_hot(y, 5)) / (len(y) * len(x))
        p = torch.sigmoid(4 * (u - 1))
        by_current = (d @ signal[feedback].T) * 4 * p * (1 - p)
        for name, out, into, one in (
            ("2", d, s, 1.0),
            ("0", by_current, a, ones),
            ("1.synapse", by_current, b, ones),
        ):
            want[f"{name}.weight"] += (out.T @ into).detach()
            want[f"{name}.bias"] += (one * out.sum(0)).detach()
    got = {n: p.grad for n, p in model.named_parameters()}
    assert differences(got, want, 1e-12) == {}


def test_what_a_recurrent_layer_of_eprop_may_not_hold_is_refused_by_place() -> None:
    layer = ratebp.Recurrent(nn.Linear(9, 9), ratebp.PLIF())
    model = nn.Sequential(nn.Linear(7, 9), layer, nn.Linear(9, 5))
    with pytest.raises(BindError, match=r"cannot train the neuron PLIF at `1\.neuron`.*bptt_m"):
        ratebp.methods.get("eprop").bind(model, 2)


def test_feedback_is_spread_evenly_and_set_by_its_seed() -> None:
    one = feedback_matrix(400, 10, 0, torch.device("cpu"))
    assert torch.equal(one, feedback_matrix(400, 10, 0, torch.device("cpu")))
    other = feedback_matrix(400, 10, 1, torch.device("cpu"))
    for b in (one, other):
        scaled = b.flatten() * 20  # uniform in [-1, 1]: variance 1/3
        assert float(scaled.abs().max()) <= 1
        assert abs(float(scaled.mean())) < 0.04
        assert float(scaled.var()) == pytest.approx(1 / 3, abs=0.02)
        assert abs(float((scaled[1:] * scaled[:-1]).mean())) < 0.03
    assert abs(float((one * other).mean()) * 400) < 0.03


def test_without_a_readout_there_is_nothing_to_broadcast() -> None:
    model = nn.Sequential(nn.Linear(3, 3), ratebp.LIF(), nn.Linear(3, 2), ratebp.LIF())
    with pytest.raises(BindError, match=r"readout, but every synapse.*End the model with"):
        ratebp.methods.get("eprop").bind(model, 2)


def test_a_synapse_into_neurons_of_different_decay_is_refused_by_place() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 2)
            self.slow, self.fast = ratebp.LIF(0.9), ratebp.LIF(0.1)

        def forward(self, x: Tensor) -> Tensor:
            current = self.a(x)
            out: Tensor = self.b(self.slow(current) + self.fast(current))
            return out

    with pytest.raises(BindError, match="`a` feeds neurons of different decay"):
        ratebp.methods.get("eprop").bind(Forked(), 2)
