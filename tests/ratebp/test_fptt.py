"""FPTT against its equations with real updates, on a network written out in plain autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ratebp
from ratebp.errors import OptionError
from ratebp.ops import spike

T, ALPHA, RATE = 5, 0.4, 0.3


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(7, 11), ratebp.LIF(0.6), nn.Linear(11, 9), ratebp.LIF(0.6), nn.Linear(9, 5)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.5)  # so that every layer spikes
    return model.double()


def data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 2 * torch.randn(T, 6, 7, dtype=torch.float64), torch.arange(6) % 5


def run(
    weights: list[Tensor], now: Tensor, y: Tensor, states: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """One time step's loss, and the states after it, cut from their past."""
    d, h, left = ratebp.LIF(0.6).dynamics, now, []
    for layer in range(3):
        h = h @ weights[2 * layer].T + weights[2 * layer + 1]
        if layer < 2:
            u = states[layer].detach() + h
            h = spike(u, d.threshold, d.surrogate)
            left.append(0.6 * (u - h).detach())
    return F.cross_entropy(h, y) / T, left


def by_the_equations(model: nn.Module, x: Tensor, y: Tensor, slope: str) -> list[Tensor]:
    w = [p.detach().clone() for p in model.parameters()]
    mean, g = [p.clone() for p in w], [torch.zeros_like(p) for p in w]
    states = [torch.zeros(6, 11, dtype=x.dtype), torch.zeros(6, 9, dtype=x.dtype)]

    def gradient(now: Tensor, regularised: bool) -> tuple[list[Tensor], list[Tensor]]:
        leaves = [p.clone().requires_grad_() for p in w]
        value, left = run(leaves, now, y, states)
        if regularised:
            parts = [p - m - s / (2 * ALPHA) for p, m, s in zip(leaves, mean, g, strict=True)]
            value = value + ALPHA / 2 * sum((part**2).sum() for part in parts)
        return list(torch.autograd.grad(value, leaves)), left

    for now in x:
        step, left = gradient(now, regularised=True)
        w = [p - RATE * s for p, s in zip(w, step, strict=True)]
        if slope == "recomputed":
            g, _ = gradient(now, regularised=False)
        else:
            g = [s / 2 - ALPHA * (p - m) for s, p, m in zip(g, w, mean, strict=True)]
        mean = [(m + p) / 2 - s / (2 * ALPHA) for m, p, s in zip(mean, w, g, strict=True)]
        states = left
    return w


@pytest.mark.parametrize("slope", ["recomputed", "stationary"])
def test_fptt_goes_where_its_equations_go(slope: str) -> None:
    model, (x, y) = mlp(), data()
    want = by_the_equations(model, x, y, slope)
    start = [p.detach().clone() for p in model.parameters()]
    context = ratebp.StepContext(torch.optim.SGD(model.parameters(), lr=RATE))
    ratebp.methods.get("fptt", alpha=ALPHA, slope=slope).bind(model, T).step(x, y, context=context)
    for before, a, b in zip(start, model.parameters(), want, strict=True):
        assert not torch.equal(a, before)
        torch.testing.assert_close(a.detach(), b, rtol=1e-12, atol=1e-14)


def test_the_two_slopes_differ_and_so_does_no_pull_at_all() -> None:
    ends = []
    for name, options in (("fptt", {}), ("fptt", {"slope": "stationary"}), ("ottt_o", {})):
        model, (x, y) = mlp(), data()
        context = ratebp.StepContext(torch.optim.SGD(model.parameters(), lr=RATE))
        ratebp.methods.get(name, **options).bind(model, T).step(x, y, context=context)
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert all(float((a - b).norm()) > 1e-3 for a, b in zip(ends, ends[1:] + ends[:1], strict=True))


def test_it_needs_an_optimiser_and_a_positive_alpha() -> None:
    model, (x, y) = mlp(), data()
    with pytest.raises(OptionError, match="updates at every time step"):
        ratebp.methods.get("fptt").bind(model, T).step(x, y)
    with pytest.raises(OptionError, match=r"Fptt\.alpha=0 must be a positive number"):
        ratebp.methods.get("fptt", alpha=0)


def test_a_norm_that_cannot_be_run_again_is_refused_by_place() -> None:
    class OwnNorm(nn.BatchNorm1d):
        pass

    model = nn.Sequential(nn.Linear(4, 4), OwnNorm(4), ratebp.LIF(), nn.Linear(4, 2))
    with pytest.raises(ratebp.BindError, match="OwnNorm with running statistics at `1`"):
        ratebp.methods.get("fptt").bind(model, 2)
    ratebp.methods.get("fptt", slope="stationary").bind(model, 2)
