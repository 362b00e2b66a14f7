"""Learned thresholds: exact by BPTT, and DSR's rule for them as published."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ratebp
from ratebp import LIF, TLIF
from ratebp.errors import OptionError
from ratebp.methods.dsr._represented import recent_weights
from ratebp.norms import LearnedScale
from ratebp.ops import lif_scan, spike
from ratebp.testing import Problem
from ratebp.testing.gradients import differences, gradients

THRESHOLD = 0.75  # without rounding in float32, in which parameters start


def network(decay: float, *, loud: bool, detach_reset: bool = True) -> Any:
    """An MLP 7-11-9-5; with `loud`, spikes are as large as the threshold."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((7, 11), (11, 9)):
        neuron = TLIF(decay, THRESHOLD, detach_reset)
        layers += [nn.Linear(inputs, outputs), neuron]
        layers += [LearnedScale(neuron.threshold)] if loud else []
    model = nn.Sequential(*layers, nn.Linear(9, 5)).double()
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(2.5)  # so that every layer spikes
    return model


def case(model: nn.Module, timesteps: int = 5) -> Problem:
    torch.manual_seed(1)
    x = 2 * torch.randn(timesteps, 6, 7, dtype=torch.float64)
    return Problem(model, x, torch.arange(6) % 5)


@pytest.mark.parametrize("name", ["bptt_m", "bptt_s"])
@pytest.mark.parametrize("detach_reset", [True, False])
@pytest.mark.parametrize("loud", [True, False])
def test_bptt_is_autograd_through_an_unrolled_loop(
    name: str, detach_reset: bool, loud: bool
) -> None:
    problem = case(network(0.6, loud=loud, detach_reset=detach_reset))
    m, outs = problem.model, []
    neurons = {n: layer for n, layer in enumerate(m) if isinstance(layer, TLIF)}  # type: ignore[arg-type]
    states: dict[int, Any] = {}
    for h in problem.x:
        for n, layer in enumerate(m):  # type: ignore[arg-type]
            if n not in neurons:
                h = layer(h)
                continue
            theta = layer.threshold
            u, s = states.get(n, (torch.zeros_like(h), torch.zeros_like(h)))
            u = 0.6 * (u - theta * (s.detach() if detach_reset else s)) + h
            h = spike(u - theta, 0.0, layer.start.surrogate)
            states[n] = u, h
        outs.append(h)
    F.cross_entropy(torch.stack(outs).mean(0), problem.y).backward()
    want = {n: p.grad.clone() for n, p in m.named_parameters() if p.grad is not None}
    assert all(float(want[f"{n}.threshold"].abs()) > 1e-4 for n in neurons)
    assert differences(gradients(ratebp.methods.get(name), problem), want, 1e-11) == {}


@pytest.mark.parametrize(("form", "decay"), [("if", 1.0), ("lif", 0.6)])
def test_dsr_of_loud_spikes_is_the_published_rule(form: str, decay: float) -> None:
    """Spikes of the threshold's size; o = clip(x, 0, threshold), differentiated by both."""
    problem = case(network(decay, loud=True))
    m: Any = problem.model
    timesteps = len(problem.x)
    even = [1 / timesteps] * timesteps
    weights = even if form == "if" else recent_weights(timesteps, decay)
    w = torch.tensor(weights, dtype=torch.float64)
    signals, currents, out = [], [], problem.x
    for n in (0, 3):
        current = m[n](out)
        fired = THRESHOLD * lif_scan(current.detach(), m[n + 1].start)
        out = fired.requires_grad_()  # the graph is cut here, and joined by hand
        signals.append(out)
        currents.append(current)
    F.cross_entropy(m[6](out).mean(0), problem.y).backward()
    want = {n: p.grad.clone() for n, p in m[6].named_parameters("6")}
    for n, inputs in ((3, signals[0]), (0, problem.x)):
        current, signal = currents[n // 3].detach(), signals[n // 3].grad
        mean = torch.einsum("t,tbn->bn", w, current)
        inside = (mean >= 0) & (mean <= THRESHOLD)
        weighted = torch.einsum("t,tbn->bn", w, signal)
        to_current = (inside * weighted).expand_as(current)  # the same at every step
        want[f"{n + 1}.threshold"] = (signal.sum(0) * (mean > THRESHOLD)).sum()
        want[f"{n}.weight"] = torch.einsum("tbn,tbm->nm", to_current, inputs.detach())
        want[f"{n}.bias"] = to_current.sum((0, 1))
        if n:
            signals[0].grad = to_current @ m[n].weight.detach()
        assert float(want[f"{n + 1}.threshold"].abs()) > 1e-4
    got = gradients(ratebp.methods.get("dsr", form=form), problem)
    assert differences(got, {n: want[n] for n in got}, 1e-11) == {}


@pytest.mark.parametrize("form", ["if", "lif"])
def test_weights_learn_as_with_a_constant_threshold(form: str) -> None:
    learned = gradients(ratebp.methods.get("dsr", form=form), case(network(0.6, loud=False)))
    model = network(0.6, loud=False)
    for n in (1, 3):
        model[n] = LIF(0.6, THRESHOLD)
    constant = gradients(ratebp.methods.get("dsr", form=form), case(model))
    assert differences({n: learned[n] for n in constant}, constant, 1e-12) == {}


def test_inference_is_that_of_the_lif_and_thresholds_are_bounded_below() -> None:
    problem, model = case(network(0.6, loud=False)), network(0.6, loud=False)
    for n in (1, 3):
        model[n] = LIF(0.6, THRESHOLD)
    assert torch.equal(ratebp.infer(problem.model, problem.x), ratebp.infer(model, problem.x))
    low: Any = network(0.6, loud=False)
    for n in (1, 3):
        model[n] = LIF(0.6, 0.01)
        with torch.no_grad():
            low[n].threshold.fill_(-1.0)
    torch.testing.assert_close(ratebp.infer(low, problem.x), ratebp.infer(model, problem.x))
    with pytest.raises(OptionError, match="threshold=0 must be a positive number"):
        TLIF(threshold=0)


def test_autocast_gives_finite_gradients_of_the_parameters_type() -> None:
    problem = case(network(1.0, loud=True).float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = gradients(
            ratebp.methods.get("dsr"), Problem(problem.model, problem.x.float(), problem.y)
        )
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in got.values())
