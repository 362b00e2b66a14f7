"""Spike accumulation forwarding: the forward, E8 and E9 against oracles of their own, refusals."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import ratebp
from ratebp.methods.saf._accumulation import AccumulatedLIF, AccumulatedSynapse
from ratebp.roles import Role
from ratebp.rules import StepLIF
from ratebp.testing import problem, seeded_step
from ratebp.testing.gradients import differences
from ratebp.views import view

SIZES = (7, 11, 9, 5)
NEURON = {"decay": 0.6, "threshold": 0.7}
METHODS = ["saf_e", "saf_f"]


def mlp(**neuron: Any) -> nn.Sequential:
    torch.manual_seed(0)
    lifs = [ratebp.LIF(**(NEURON | neuron)) for _ in range(2)]
    linears = [nn.Linear(n, m) for n, m in pairwise(SIZES)]
    model = nn.Sequential(linears[0], lifs[0], linears[1], lifs[1], linears[2]).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)  # so that every layer spikes
    return model


def data(timesteps: int = 5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(timesteps, 6, SIZES[0], dtype=torch.float64), torch.arange(6) % 5


def step(name: str, model: nn.Module, x: Tensor, y: Tensor) -> ratebp.Result:
    model.zero_grad()
    return seeded_step(ratebp.methods.get(name).bind(model, x.shape[0]), x, y)


def grads(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@dataclass
class Run:
    """A spiking MLP over time, written out: inputs of each layer, slopes of each neuron, logits."""

    inputs: list[Tensor]  # of each linear layer, [T, B, n]
    slopes: list[Tensor]  # h'(u - threshold) of each neuron, [T, B, n]
    logits: Tensor  # [T, B, K]

    @classmethod
    def of(cls, model: nn.Sequential, x: Tensor) -> Run:
        inputs, slopes = [x], []
        for linear, neuron in ((model[0], model[1]), (model[2], model[3])):
            d, u, s, spikes, h = neuron.dynamics, 0.0, 0.0, [], []
            for now in inputs[-1]:
                u = d.decay * (u - d.threshold * s) + now @ linear.weight.T + linear.bias
                s = (u >= d.threshold).double()
                p = torch.sigmoid(4 * (u - d.threshold))
                spikes.append(s)
                h.append(4 * p * (1 - p))
            assert 0.05 < float(torch.stack(spikes).mean()) < 0.95
            inputs.append(torch.stack(spikes).detach())
            slopes.append(torch.stack(h).detach())
        logits = inputs[-1] @ model[4].weight.T + model[4].bias
        return cls(inputs, slopes, logits.detach())


def weights_back_from(timesteps: int, decay: float) -> Tensor:
    return decay ** torch.arange(timesteps - 1, -1, -1, dtype=torch.float64).view(-1, 1, 1)


@pytest.mark.parametrize("decay", [0.0, 0.6, 1.0])
def test_e8_spikes_and_potentials_are_those_of_the_lif(decay: float) -> None:
    """E8, forward: on the residual problem, with adds, a grouped convolution and average pools."""
    case = problem(decay=decay, threshold=0.7, timesteps=8)
    accumulated = ratebp.methods.get("saf_e").bind(case.model, 8).views(case.x)["net"]
    plain = view(case.model, {Role.NEURON: lambda lif, _: StepLIF(lif)}, builds_graph=False)
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def watch(name: str, leaf: AccumulatedLIF, current: Tensor) -> None:
        u = leaf.potential(current)
        seen[name] = (u, (u >= 0.7).double())

    names = ("lif0", "lif1", "lif2")
    for name in names:
        leaf = accumulated.module.get_submodule(f"net.{name}")
        leaf.register_forward_pre_hook(lambda m, args, name=name: watch(name, m, args[0]))
    with torch.no_grad(), accumulated.sequence(), plain.sequence():
        for now in case.x.unbind(0):
            torch.testing.assert_close(accumulated(now), plain(now), rtol=0, atol=1e-13)
            for name in names:
                u = plain.module.get_submodule(name).potential
                assert isinstance(u, Tensor)
                s = (u >= case.model.get_submodule(name).dynamics.threshold).to(u.dtype)  # type: ignore[union-attr]
                scale = max(1.0, float(u.abs().max()))
                assert float((seen[name][0] - u).abs().max()) < 1e-14 * scale
                assert torch.equal(seen[name][1], s)


def test_e8_saf_e_is_ottt_with_traces_everywhere() -> None:
    """E8, backward: against the sums over time written out, biases and readout included."""
    model, (x, y) = mlp(), data()
    got = step("saf_e", model, x, y)
    run, decay = Run.of(model, x), 0.6
    want = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    traces = [torch.zeros_like(each[0]) for each in run.inputs]
    ones = 0.0
    for t in range(len(x)):
        traces = [decay * a + s[t] for a, s in zip(traces, run.inputs, strict=True)]
        ones = decay * ones + 1
        delta = (run.logits[t].softmax(-1) - F.one_hot(y, 5)) / (len(y) * len(x))
        for index in (2, 1, 0):
            want[f"{2 * index}.weight"] += delta.T @ traces[index]
            want[f"{2 * index}.bias"] += ones * delta.sum(0)
            if index:
                delta = (delta @ model[2 * index].weight) * run.slopes[index - 1][t]
    assert differences(grads(model), {n: g.detach() for n, g in want.items()}, 1e-13) == {}
    torch.testing.assert_close(got.logits, run.logits.mean(0), rtol=1e-13, atol=1e-13)
    loss = torch.stack([F.cross_entropy(o, y) for o in run.logits]).mean()
    torch.testing.assert_close(got.loss, loss, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("decay", [0.0, 0.3, 1.0])
def test_e8_saf_e_is_ottt_a_for_every_decay_and_threshold(decay: float) -> None:
    case = problem(decay=decay, threshold=1.3, timesteps=5)
    step("saf_e", case.model, case.x, case.y)
    mine = grads(case.model)
    step("ottt_a", case.model, case.x, case.y)
    assert differences(mine, grads(case.model), 1e-12) == {}


@pytest.mark.parametrize("decay", [0.0, 0.6, 1.0])
def test_e9_saf_f_is_the_gradient_of_the_network_of_rates(decay: float) -> None:
    """E9: r_l = a_l[T] / e[T] as a function of W r + b, with the slope of the last step."""
    model, (x, y) = mlp(decay=decay), data()
    got = step("saf_f", model, x, y)
    found, run = grads(model), Run.of(model, x)
    past = weights_back_from(len(x), decay)
    rates = [(past * each).sum(0) / past.sum() for each in run.inputs]

    def representation(per_neuron: float) -> tuple[Tensor, dict[str, Tensor]]:
        model.zero_grad()
        r = rates[0]
        for index in (0, 1):
            current = model[2 * index](r)
            slope = per_neuron * run.slopes[index][-1]
            r = rates[index + 1] + slope * (current - current.detach())
        loss = F.cross_entropy(model[4](r), y)
        loss.backward()
        return loss.detach(), grads(model)

    loss, want = representation(1.0)
    assert differences(found, want, 1e-13) == {}
    torch.testing.assert_close(got.loss, loss, rtol=1e-13, atol=1e-13)
    mean = (past * run.logits).sum(0) / past.sum()
    torch.testing.assert_close(loss, F.cross_entropy(mean, y), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(got.logits, run.logits.mean(0), rtol=1e-13, atol=1e-13)
    # Theorem 2: r = phi((W r + b) / threshold), a factor of the threshold for each neuron crossed.
    threshold = NEURON["threshold"]
    _, scaled = representation(1 / threshold)
    crossed = {"0": 2, "2": 1, "4": 0}
    scaled = {n: g * threshold ** crossed[n.split(".")[0]] for n, g in scaled.items()}
    assert differences(found, scaled, 1e-13) == {}


def test_one_synaptic_operation_per_layer_and_step() -> None:
    case = problem()
    bound = ratebp.methods.get("saf_e").bind(case.model, case.timesteps)
    with FlopCounterMode(display=False) as plain:
        bound.plain(case.x)
    with FlopCounterMode(display=False) as mine, torch.no_grad():
        net = bound.views(case.x)["net"]
        for now in case.x.unbind(0):
            net(now)
    assert mine.get_total_flops() == plain.get_total_flops() > 0


def test_saf_f_runs_one_backward() -> None:
    called = []

    class Counted(ratebp.StepContext):
        def backward(self, loss: Tensor) -> None:
            called.append(loss)
            super().backward(loss)

    case = problem()
    ratebp.methods.get("saf_f").bind(case.model, 3).step(case.x, case.y, context=Counted())
    assert len(called) == 1


def test_a_synapse_of_any_kind_scales_its_own_offset() -> None:
    """A layer that torch's geometry does not describe takes the general path."""
    layer = nn.ConvTranspose2d(2, 3, 2, stride=2).double()
    leaf, x = AccumulatedSynapse(layer, 0.5), torch.randn(4, 1, 2, 3, 3, dtype=torch.float64)
    a, U = torch.zeros_like(x[0]), torch.zeros(())
    for now in x:
        a, U = 0.5 * a + now, 0.5 * U + layer(now)
        torch.testing.assert_close(leaf(a), U, rtol=1e-12, atol=1e-12)


class Odd(nn.Module):
    """A network whose forward is given, around a linear layer and a neuron."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.a, self.lif, self.b = nn.Linear(6, 6), ratebp.LIF(), nn.Linear(6, 6)
        self.odd = forward

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.odd(self, x)
        return out


def put(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3), *layers, ratebp.LIF(), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (put(nn.BatchNorm2d(4)), "cannot cross BatchNorm2d at `1`.*ottt_a"),
        (put(nn.BatchNorm2d(4).eval()), "cannot cross BatchNorm2d at `1`"),
        (put(ratebp.LIF(), nn.GroupNorm(2, 4)), "cannot cross GroupNorm at `2`"),
        (put(nn.MaxPool2d(2)), "cannot cross MaxPool2d at `1`"),
        (put(nn.Dropout(0.5)), "cannot cross Dropout at `1`"),
        (put(nn.ReLU()), "cannot cross ReLU at `1`"),
        (Odd(lambda m, x: m.b(m.lif(m.a(x)).relu())), r"cannot cross relu \(test_saf.py"),
        (
            nn.Sequential(Odd(lambda m, x: m.b(m.lif(m.a(x) + 1)))),
            r"cannot cross add \(test_saf.py",
        ),
        (Odd(lambda m, x: m.b(m.lif(m.a(x)).relu_())), "cannot cross relu_"),
        (Odd(lambda m, x: m.b(m.lif(m.a(x)) @ m.a.weight)), "matmul .*outside of a synapse"),
        (Odd(lambda m, x: m.b(m.lif(x)) if x.sum() > 0 else x), "depends on the values of tensors"),
        (mlp(reset="hard"), "neuron `1` with reset='hard'.*Use reset='soft'"),
        (mlp(detach_reset=False), "neuron `1` with detach_reset=False.*Use detach_reset=True"),
        (put(ratebp.LIF(decay=0.5)), "one decay.*`1` 0.5, `2` 0.2"),
    ],
)
def test_what_accumulations_cannot_cross_is_refused_by_place(
    name: str, model: nn.Module, message: str
) -> None:
    wiring = ratebp.Wiring({}, {}, {}, frozenset())  # a given wiring does not lift the check
    with pytest.raises(ratebp.BindError, match=message):
        ratebp.methods.get(name).bind(model, 2, wiring=wiring)


@pytest.mark.parametrize("name", METHODS)
def test_linear_plumbing_is_crossed(name: str) -> None:
    """Adds of spikes, of input and current, shapes and averages: logits are the network's."""

    def forward(m: Any, x: Tensor) -> Tensor:
        first = m.lif(m.a(x) + x).reshape(x.size(0), 2, 3).flatten(1)
        pooled = F.adaptive_avg_pool1d(torch.add(first, x), 6)
        return m.b(pooled.view(x.shape[0], 6)) + first  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model, x, y = Odd(forward).double(), torch.randn(4, 3, 6).double(), torch.arange(3)
    bound = ratebp.methods.get(name).bind(model, 4)
    torch.testing.assert_close(seeded_step(bound, x, y).logits, bound.plain(x))
