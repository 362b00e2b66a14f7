"""A LIF step that makes its potentials anew, and parameters whose gradients are added at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ratebp.dynamics import Dynamics
from ratebp.ops import (
    Normalised,
    Past,
    Spikes,
    Term,
    accumulating,
    affine,
    lif_step_of,
    naive_lif_step,
    pack,
)
from ratebp.surrogates import Surrogate
from tests.ratebp.test_ops import RESETS, assert_same, poisoned_memory

__all__ = ["poisoned_memory"]  # applied to every test here

T = 5
CASES = [
    ((1, 1), "none"),
    ((3, 2, 3, 1), "none"),
    ((3, 2, 3, 1), "spikes"),
    ((3, 2, 3, 1), "norm"),
    ((2, 1, 140000), "spikes"),  # runs in pieces
]


class CallsOf(TorchDispatchMode):
    """Counts calls of some operators."""

    def __init__(self, *operators: Any) -> None:
        super().__init__()
        self.operators = operators
        self.times = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.times += func in self.operators
        return func(*args, **(kwargs or {}))


def currents(shape: tuple[int, ...], residual: str) -> tuple[list[Tensor], list[tuple[Term, ...]]]:
    """Return T currents, and the terms that each is the sum of."""
    weight, bias = (torch.randn(shape[1], dtype=torch.float64) for _ in range(2))
    values, terms = [], []
    for _ in range(T):
        xhat, other = (torch.randn(shape, dtype=torch.float64) for _ in range(2))
        value: Tensor = affine(xhat, weight, bias)
        of: tuple[Term, ...] = (Normalised(xhat, weight, bias),)
        if residual == "spikes":
            spikes = (other > 0).double()
            value, of = spikes + value, (Spikes(pack(spikes)), *of)
        if residual == "norm":
            value, of = value + other, (*of, Normalised(other, None, None))
        values.append(value)
        terms.append(of)
    return values, terms


@pytest.mark.parametrize(("reset", "detach"), RESETS)
@pytest.mark.parametrize(("shape", "residual"), CASES, ids=str)
def test_steps_that_keep_no_potential(
    shape: tuple[int, ...], residual: str, reset: str, detach: bool
) -> None:
    """Two stretches of steps: values to the bit, and every gradient through time."""
    torch.manual_seed(0)
    values, terms = currents(shape, residual)
    upstream = [torch.randn(shape, dtype=torch.float64) for _ in range(T + 1)]
    dynamics = Dynamics(0.7, 0.8, reset, detach, Surrogate("sigmoid", 2.0))

    def run(fast: bool) -> list[Tensor]:
        leaves = [value.clone().requires_grad_() for value in values]
        u: Tensor | None = None
        past, total = Past(), torch.zeros((), dtype=torch.float64)
        for t, now in enumerate(leaves):
            if fast:
                past = (Past(u) if t == 3 else past).then(terms[t])
                spikes, u = lif_step_of(now, u, dynamics, past)
            else:
                spikes, u = naive_lif_step(now, u, dynamics)
            total = total + (spikes * upstream[t]).sum()
        assert u is not None
        found = torch.autograd.grad(total + (u * upstream[T]).sum(), leaves)
        return [total.detach(), u.detach(), *found]

    got, want = run(True), run(False)
    assert torch.equal(got[1], want[1])
    assert_same(got, want, 1e-12)


@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_a_backward_leaves_potentials_to_the_steps_before(reset: str, detach: bool) -> None:
    """Not all steps up to each are run again, nothing is left over, and twice is alike."""
    steps, shape = 8, (3, 2)
    torch.manual_seed(1)
    dynamics = Dynamics(0.7, 0.8, reset, detach, Surrogate("sigmoid", 2.0))
    weight = torch.randn(2, dtype=torch.float64)
    u: Tensor | None = None
    past, total, leaves = Past(), torch.zeros((), dtype=torch.float64), []
    for _ in range(steps):
        xhat = torch.randn(shape, dtype=torch.float64)
        leaves.append(affine(xhat, weight, None).requires_grad_())
        past = past.then((Normalised(xhat, weight, None),))
        spikes, u = lif_step_of(leaves[-1], u, dynamics, past)
        total = total + spikes.sum()
    with CallsOf(torch.ops.aten.ge.Scalar_out, torch.ops.aten.lt.Scalar_out) as counted:
        first = torch.autograd.grad(total, leaves, retain_graph=True)
    assert not past.midway
    assert counted.times < steps * (steps - 1) / 2
    for got, want in zip(torch.autograd.grad(total, leaves), first, strict=True):
        assert torch.equal(got, want)


def test_a_step_needs_no_gradient_by_its_potential() -> None:
    values, terms = currents((2, 3), "none")
    now = values[0].requires_grad_()
    spikes, _ = lif_step_of(now, None, Dynamics(), Past().then(terms[0]))
    (found,) = torch.autograd.grad(spikes.sum(), now)
    slope = Dynamics().surrogate.derivative(values[0].detach() - 1)
    torch.testing.assert_close(found, slope, rtol=1e-12, atol=1e-12)


def shared(parameter: Tensor, mark: Any) -> Tensor:
    """Return a loss that uses `parameter` three times, twice through `mark`."""
    return (parameter**2).sum() + (3 * mark(parameter)).sum() + (mark(parameter) ** 3).sum()


@pytest.mark.parametrize("kept", [True, False])
def test_gradients_that_are_added_at_once(kept: bool) -> None:
    found = []
    for mark in (accumulating, lambda p: p):
        parameter = torch.arange(4.0).requires_grad_()
        parameter.grad = torch.ones(4) if kept else None
        calls: list[Tensor] = []
        parameter.register_post_accumulate_grad_hook(lambda p, to=calls: to.append(p.grad.clone()))
        shared(parameter, mark).backward()
        assert len(calls) == 1, "whoever waits for the gradient is called once"
        assert torch.equal(calls[0], parameter.grad)
        found.append(parameter.grad)
    assert torch.equal(*found)


def test_gradients_that_are_asked_for_are_returned_and_not_added() -> None:
    parameter = torch.arange(4.0).requires_grad_()
    parameter.grad = torch.ones(4)
    (got,) = torch.autograd.grad(shared(parameter, accumulating), parameter)
    (want,) = torch.autograd.grad(shared(parameter, lambda p: p), parameter)
    assert torch.equal(got, want)
    assert torch.equal(parameter.grad, torch.ones(4))


def test_only_what_gets_a_gradient_is_marked() -> None:
    frozen, used = torch.zeros(2), torch.zeros(2, requires_grad=True)
    assert accumulating(frozen) is frozen
    assert accumulating(used * 1).grad_fn is not None
    with torch.no_grad():
        assert accumulating(used) is used
