"""LIF with rate statistics in C++ (kernels.cpp), called as the Triton kernels are."""

from __future__ import annotations

from torch import Tensor

from ratebp.ops.cpp import call


def scan(
    equation: str, current: Tensor, spikes: Tensor, count: Tensor, eligibility: Tensor
) -> None:
    """Run all time steps of `current` and fill the results."""
    steps, number = current.shape[0], count.numel()
    step = current.stride(0)
    call("rate_scan", equation, current, step, spikes, count, eligibility, steps, number)


def advance(
    equation: str,
    current: Tensor,
    carry: Tensor,
    count: Tensor,
    eligibility: Tensor,
    rho: Tensor,
    fired: Tensor,
) -> None:
    """Advance the state by one time step, but for a `rho` that is a number, and fill `fired`."""
    state = carry, count, eligibility, rho
    call("rate_advance", equation, current, *state, not rho.dim(), fired, carry.numel())
