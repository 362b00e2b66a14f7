"""The LIF scan in Triton: a lane runs all time steps of one neuron, its potential in a register."""

# No postponed annotations: triton reads `tl.constexpr` from them.
import triton
import triton.language as tl
from torch import Tensor

from ratebp.ops.fused import FORWARD, constants, wide_of
from ratebp.ops.triton import carry, carry_grad, cast, derivative, launch, level, type_of


@triton.jit
def _forward(
    current, step, spikes, potentials, timesteps, number,
    KEEP: tl.constexpr, WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr,
    RESET: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    now, fired, kept = current + i, spikes + i, potentials + i
    u = tl.zeros([BLOCK], WIDE)
    for _ in range(timesteps):
        u += tl.load(now, mask=inside, other=0).to(WIDE)
        if KEEP:
            tl.store(kept, u, mask=inside)
            kept += number
        tl.store(fired, cast(u >= level(u, THRESHOLD), spikes.dtype.element_ty), mask=inside)
        u = carry(u, DECAY, THRESHOLD, RESET)
        now += step
        fired += number


@triton.jit
def _backward(
    potentials, grad, step, out, timesteps, last, last_grad, number,
    WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr,
    DETACH: tl.constexpr, SURROGATE: tl.constexpr, ALPHA: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    kept, slot, upstream = potentials + last + i, out + last + i, grad + last_grad + i
    later = tl.zeros([BLOCK], WIDE)
    for _ in range(timesteps):
        u = tl.load(kept, mask=inside, other=0)
        h = derivative(u - THRESHOLD, SURROGATE, ALPHA)
        ds = tl.load(upstream, mask=inside, other=0).to(WIDE)
        later = ds * h + later * carry_grad(u, h, DECAY, THRESHOLD, RESET, DETACH)
        tl.store(slot, later.to(out.dtype.element_ty), mask=inside)
        kept -= number
        slot -= number
        upstream -= step


def forward(equation: str, current: Tensor, spikes: Tensor, potentials: Tensor | None) -> None:
    """Fill `spikes` and, where it is given, `potentials`."""
    launch(
        _forward, current[0].numel(), current,
        current, current.stride(0), spikes, spikes if potentials is None else potentials,
        current.shape[0],
        KEEP=potentials is not None, WIDE=type_of(wide_of(current.dtype)),
        **constants(equation, *FORWARD),
    )  # fmt: skip


def backward(equation: str, potentials: Tensor, grad: Tensor, out: Tensor) -> None:
    """Fill `out` with the gradient by the currents."""
    number, last = out[0].numel(), out.shape[0] - 1
    launch(
        _backward, number, out,
        potentials, grad, grad.stride(0), out, out.shape[0],
        last * number, last * grad.stride(0),
        WIDE=type_of(potentials.dtype), **constants(equation),
    )  # fmt: skip
