"""One time step of a LIF layer in Triton: one pass each way."""

# No postponed annotations: triton reads `tl.constexpr` from them.
import triton
import triton.language as tl
from torch import Tensor

from ratebp.ops.fused import FORWARD, constants
from ratebp.ops.triton import carry, carry_grad, cast, derivative, launch, level, type_of


@triton.jit
def _forward(
    current, last, spikes, potential, number,
    LAST: tl.constexpr, WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr,
    RESET: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    u = tl.load(current + i, mask=inside, other=0).to(WIDE)
    if LAST:
        u = carry(tl.load(last + i, mask=inside, other=0), DECAY, THRESHOLD, RESET) + u
    fired = u >= level(u, THRESHOLD)
    tl.store(potential + i, u, mask=inside)
    tl.store(spikes + i, cast(fired, spikes.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    potential, last, by_spikes, by_potential, by_current, by_last, number,
    BY_SPIKES: tl.constexpr, BY_POTENTIAL: tl.constexpr, BY_LAST: tl.constexpr,
    READ_LAST: tl.constexpr, WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr,
    RESET: tl.constexpr, DETACH: tl.constexpr, SURROGATE: tl.constexpr, ALPHA: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = i < number
    du = tl.zeros([BLOCK], WIDE)
    if BY_SPIKES:
        x = tl.load(potential + i, mask=inside, other=0) - THRESHOLD
        du += tl.load(by_spikes + i, mask=inside, other=0).to(WIDE) * derivative(
            x, SURROGATE, ALPHA
        )
    if BY_POTENTIAL:
        du += tl.load(by_potential + i, mask=inside, other=0)
    tl.store(by_current + i, du.to(by_current.dtype.element_ty), mask=inside)
    if BY_LAST:
        before = tl.zeros([BLOCK], WIDE)
        if READ_LAST:
            before = tl.load(last + i, mask=inside, other=0)
        h = derivative(before - THRESHOLD, SURROGATE, ALPHA)
        du *= carry_grad(before, h, DECAY, THRESHOLD, RESET, DETACH)
        tl.store(by_last + i, du, mask=inside)


def forward(
    equation: str, current: Tensor, last: Tensor | None, spikes: Tensor, potential: Tensor
) -> None:
    """Fill spikes and potential."""
    launch(
        _forward, current.numel(), current,
        current, current if last is None else last, spikes, potential,
        LAST=last is not None, WIDE=type_of(potential.dtype), **constants(equation, *FORWARD),
    )  # fmt: skip


def backward(
    equation: str, potential: Tensor, last: Tensor | None, by_spikes: Tensor | None,
    by_potential: Tensor | None, by_current: Tensor, by_last: Tensor | None,
) -> None:  # fmt: skip
    """Fill the gradients by the current and, if there is memory for it, by the last potential."""
    operands = [potential if x is None else x for x in (last, by_spikes, by_potential)]
    launch(
        _backward, potential.numel(), potential,
        potential, *operands, by_current, by_current if by_last is None else by_last,
        BY_SPIKES=by_spikes is not None, BY_POTENTIAL=by_potential is not None,
        BY_LAST=by_last is not None, READ_LAST=last is not None,
        WIDE=type_of(potential.dtype), **constants(equation),
    )  # fmt: skip
