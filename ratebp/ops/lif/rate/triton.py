"""LIF with rate statistics in Triton: one pass a call, the state in registers over the steps."""

# No postponed annotations: triton reads `tl.constexpr` from them.
import triton
import triton.language as tl
from torch import Tensor

from ratebp.ops.fused import bytes_of, constants, wide_of
from ratebp.ops.triton import carry, carry_grad, cast, derivative, launch, level, type_of


@triton.jit
def _rate_scan(
    current, step, spikes, total, eligibility, timesteps, number,
    WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr,
    DETACH: tl.constexpr, SURROGATE: tl.constexpr, ALPHA: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    now, fired = current + i, spikes + i
    u, g = tl.zeros([BLOCK], WIDE), tl.zeros([BLOCK], WIDE)
    rho = tl.full([BLOCK], 1.0, WIDE)
    count = tl.zeros([BLOCK], tl.int32)
    for _ in range(timesteps):
        u += tl.load(now, mask=inside, other=0).to(WIDE)
        s = u >= level(u, THRESHOLD)
        tl.store(fired, cast(s, spikes.dtype.element_ty), mask=inside)
        count += s.to(tl.int32)
        h = derivative(u - THRESHOLD, SURROGATE, ALPHA)
        g += h * rho
        rho = rho * carry_grad(u, h, DECAY, THRESHOLD, RESET, DETACH) + 1
        u = carry(u, DECAY, THRESHOLD, RESET)
        now += step
        fired += number
    tl.store(total + i, count.to(total.dtype.element_ty), mask=inside)
    tl.store(eligibility + i, g, mask=inside)


@triton.jit
def _advance(
    current, potential, total, eligibility, rho, fired, number,
    PLAIN: tl.constexpr, WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr,
    RESET: tl.constexpr, DETACH: tl.constexpr, SURROGATE: tl.constexpr, ALPHA: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    u = tl.load(potential + i, mask=inside, other=0)
    u += tl.load(current + i, mask=inside, other=0).to(WIDE)
    s = u >= level(u, THRESHOLD)
    tl.store(fired + i, s.to(tl.uint8), mask=inside)
    count = tl.load(total + i, mask=inside, other=0) + s.to(total.dtype.element_ty)
    tl.store(total + i, count, mask=inside)
    h = derivative(u - THRESHOLD, SURROGATE, ALPHA)
    # A plain number is advanced by the caller, once: other programs read it here.
    weight = tl.load(rho) if PLAIN else tl.load(rho + i, mask=inside, other=0)
    g = tl.load(eligibility + i, mask=inside, other=0) + h * weight
    tl.store(eligibility + i, g, mask=inside)
    if not PLAIN:
        weight = weight * carry_grad(u, h, DECAY, THRESHOLD, RESET, DETACH) + 1
        tl.store(rho + i, weight, mask=inside)
    tl.store(potential + i, carry(u, DECAY, THRESHOLD, RESET), mask=inside)


@triton.jit
def _replay_rate(
    grad, eligibility, out, timesteps, number, WIDE: tl.constexpr, BLOCK: tl.constexpr
):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    d = tl.load(grad + i, mask=inside, other=0).to(WIDE)
    d = d * tl.load(eligibility + i, mask=inside, other=0) / timesteps
    tl.store(out + i, d.to(out.dtype.element_ty), mask=inside)


def scan(
    equation: str, current: Tensor, spikes: Tensor, count: Tensor, eligibility: Tensor
) -> None:
    """Run all time steps of `current` and fill the results."""
    launch(
        _rate_scan, count.numel(), current,
        current, current.stride(0), bytes_of(spikes), count, eligibility, current.shape[0],
        WIDE=type_of(eligibility.dtype), **constants(equation),
    )  # fmt: skip


def advance(
    equation: str, current: Tensor, carry: Tensor, count: Tensor, eligibility: Tensor, rho: Tensor,
    fired: Tensor,
) -> None:  # fmt: skip
    """Advance the state by one time step, but for a `rho` that is a number, and fill `fired`."""
    launch(
        _advance, carry.numel(), current,
        current, carry, count, eligibility, rho, bytes_of(fired),
        PLAIN=not rho.dim(), WIDE=type_of(carry.dtype), **constants(equation),
    )  # fmt: skip


def replay(grad: Tensor, eligibility: Tensor, out: Tensor, timesteps: int) -> None:
    """Fill `out` with ``grad * eligibility / timesteps``."""
    wide = type_of(wide_of(eligibility.dtype))
    launch(_replay_rate, out.numel(), grad, grad, eligibility, out, timesteps, WIDE=wide)
