"""The single LIF step: the same as the readable one, value and gradients, keeping less."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ratebp.dynamics import Dynamics
from ratebp.ops import lif_step, naive_lif_step
from ratebp.surrogates import Surrogate, names
from tests.ratebp.test_ops import RESETS, assert_same, poisoned_memory

__all__ = ["poisoned_memory"]  # applied to every test here

SHAPES = [(1, 1), (3, 63), (2, 3, 5, 1), (17, 1, 7)]
USES = [(True, True), (True, False), (False, True)]


def outcome(
    step: Any, current: Tensor, last: Tensor | None, dynamics: Dynamics, uses: tuple[bool, bool]
) -> list[Tensor]:
    """Return spikes, potential and the gradients of a loss that uses either or both of them."""
    inputs = [each.clone().requires_grad_() for each in (current, last) if each is not None]
    spikes, u = step(inputs[0], inputs[1] if last is not None else None, dynamics)
    draw = torch.Generator().manual_seed(1)
    weights = [torch.randn(u.shape, generator=draw, dtype=torch.float64) for _ in range(2)]
    parts = [(s * w).sum() for s, w, used in zip((spikes, u), weights, uses, strict=True) if used]
    grads = torch.autograd.grad(torch.stack(parts).sum(), inputs, allow_unused=True)
    assert all(grad is not None for grad in grads)
    return [spikes.detach(), u.detach(), *grads]


@pytest.mark.parametrize("uses", USES, ids=["both", "spikes", "potential"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_equal_to_the_readable_step(
    reset: str, detach: bool, shape: tuple[int, ...], first: bool, uses: tuple[bool, bool]
) -> None:
    torch.manual_seed(0)
    current, last = (2 * torch.randn(shape, dtype=torch.float64) for _ in range(2))
    dynamics = Dynamics(0.7, 0.8, reset, detach, Surrogate("sigmoid", 2.0))
    start = None if first else last
    got, want = (outcome(f, current, start, dynamics, uses) for f in (lif_step, naive_lif_step))
    assert torch.equal(got[0], want[0])
    assert torch.equal(got[1], want[1])
    assert_same(got, want, 1e-13)


@pytest.mark.parametrize("surrogate", names())
def test_every_surrogate(surrogate: str) -> None:
    current, last = torch.randn(2, 4, 9, dtype=torch.float64)
    dynamics = Dynamics(0.5, 1.1, "soft", False, Surrogate(surrogate, 1.5))
    got, want = (
        outcome(f, current, last, dynamics, (True, True)) for f in (lif_step, naive_lif_step)
    )
    assert_same(got, want, 1e-13)


def test_a_narrow_current_charges_a_wide_potential() -> None:
    current, last = torch.randn(3, 7).bfloat16(), torch.randn(3, 7)
    for step in (lif_step, naive_lif_step):
        now = current.clone().requires_grad_()
        spikes, u = step(now, last, Dynamics())
        assert (spikes.dtype, u.dtype) == (torch.bfloat16, torch.float32)
        (grad,) = torch.autograd.grad(spikes.sum(), now)
        assert grad.dtype == torch.bfloat16
    assert torch.equal(u, naive_lif_step(current, last, Dynamics())[1])


@pytest.mark.parametrize(("reset", "detach"), RESETS)
def test_what_is_kept_is_the_potential(reset: str, detach: bool) -> None:
    """And the last one only where the backward needs it."""
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    dynamics = Dynamics(0.5, 1.0, reset, detach)
    current, last = (torch.randn(2, 5, requires_grad=True) for _ in range(2))
    for start, most in ((last.detach(), 1), (last, 1 if dynamics.constant_jacobian else 2)):
        kept.clear()
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            _, u = lif_step(current, start, dynamics)
        assert len(kept) == most
        assert kept[0].data_ptr() == u.data_ptr()


def test_results_share_no_memory() -> None:
    current = torch.randn(2, 5)
    spikes, u = lif_step(current, None, Dynamics())
    pointers = {each.data_ptr() for each in (current, spikes, u)}
    assert len(pointers) == 3
