"""The LIF scan in Triton from what the leaves before it keep: one pass each way.

A lane adds up its terms, batch norm's affine included, and runs the neuron. The forward does so
too, instead of reading the sum that it is given, so that both see the same potentials to the bit.
The backward writes them into the memory of its result and comes back over them.
"""

# No postponed annotations: triton reads `tl.constexpr` from them.
import itertools
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from ratebp.ops.bits.fused import bytes_for
from ratebp.ops.fused import FORWARD, constants
from ratebp.ops.terms import Terms, kind, step_of
from ratebp.ops.triton import carry, carry_grad, cast, derivative, launch, level, type_of


@triton.jit
def _factor(
    values, channel, inside, default: tl.constexpr, GIVEN: tl.constexpr, WIDE: tl.constexpr
):
    if GIVEN:
        found = tl.load(values + channel, mask=inside, other=0).to(WIDE)
    else:
        found = tl.full(channel.shape, default, WIDE)
    return found


@triton.jit
def _term(
    values, index, logical, inside, size, weight, bias, KIND: tl.constexpr, WIDE: tl.constexpr
):
    if KIND == "bits":
        k = logical // size
        byte = tl.load(values + (logical - k * size), mask=inside, other=0).to(tl.int32)
        found = ((byte >> k.to(tl.int32)) & 1).to(WIDE)
    else:
        found = tl.load(values + index, mask=inside, other=0).to(WIDE) * weight + bias
    return found


@triton.jit
def _run(
    a, a_weight, a_bias, b, b_weight, b_bias, a_step, b_step, size, timesteps, channels, pixels,
    out, i, number,
    A: tl.constexpr, A_WEIGHT: tl.constexpr, A_BIAS: tl.constexpr,
    B: tl.constexpr, B_WEIGHT: tl.constexpr, B_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr,
    SPIKES: tl.constexpr, WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr,
    RESET: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Run the neurons `i` forward; write their spikes or their potentials to `out`."""
    inside = i < number
    if CHANNELS_LAST:
        channel = i % channels
        place = i // channels
        logical = ((place // pixels) * channels + channel) * pixels + place % pixels
    else:
        channel = (i // pixels) % channels
        logical = i
    wa = _factor(a_weight, channel, inside, 1.0, A_WEIGHT, WIDE)
    ba = _factor(a_bias, channel, inside, 0.0, A_BIAS, WIDE)
    wb = _factor(b_weight, channel, inside, 1.0, B_WEIGHT, WIDE)
    bb = _factor(b_bias, channel, inside, 0.0, B_BIAS, WIDE)
    index, in_a, in_b = i, i, i
    u = tl.zeros([BLOCK], WIDE)
    for _ in range(timesteps):
        current = _term(a, in_a, logical, inside, size, wa, ba, A, WIDE)
        if B != "none":
            current += _term(b, in_b, logical, inside, size, wb, bb, B, WIDE)
        u += current
        tl.store(out + index, cast(u >= level(u, THRESHOLD), WIDE) if SPIKES else u, mask=inside)
        u = carry(u, DECAY, THRESHOLD, RESET)
        index += number
        logical += number
        in_a += a_step
        in_b += b_step


@triton.jit
def _forward(
    a, a_weight, a_bias, b, b_weight, b_bias, a_step, b_step, size, timesteps, channels, pixels,
    out, number,
    A: tl.constexpr, A_WEIGHT: tl.constexpr, A_BIAS: tl.constexpr,
    B: tl.constexpr, B_WEIGHT: tl.constexpr, B_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    _run(
        a, a_weight, a_bias, b, b_weight, b_bias, a_step, b_step, size, timesteps, channels, pixels,
        out, i, number,
        A, A_WEIGHT, A_BIAS, B, B_WEIGHT, B_BIAS, CHANNELS_LAST, True, WIDE, DECAY, THRESHOLD,
        RESET, BLOCK,
    )  # fmt: skip


@triton.jit
def _backward(
    a, a_weight, a_bias, b, b_weight, b_bias, a_step, b_step, size, timesteps, channels, pixels,
    out, grad, step, last, last_grad, number,
    A: tl.constexpr, A_WEIGHT: tl.constexpr, A_BIAS: tl.constexpr,
    B: tl.constexpr, B_WEIGHT: tl.constexpr, B_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr,
    DETACH: tl.constexpr, SURROGATE: tl.constexpr, ALPHA: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    _run(
        a, a_weight, a_bias, b, b_weight, b_bias, a_step, b_step, size, timesteps, channels, pixels,
        out, i, number,
        A, A_WEIGHT, A_BIAS, B, B_WEIGHT, B_BIAS, CHANNELS_LAST, False, WIDE, DECAY, THRESHOLD,
        RESET, BLOCK,
    )  # fmt: skip
    tl.debug_barrier()  # the loop below may spread a block over its threads in another way
    inside = i < number
    slot, upstream = out + last + i, grad + last_grad + i
    later = tl.zeros([BLOCK], WIDE)
    for _ in range(timesteps):
        u = tl.load(slot, mask=inside, other=0)
        h = derivative(u - THRESHOLD, SURROGATE, ALPHA)
        ds = tl.load(upstream, mask=inside, other=0).to(WIDE)
        later = ds * h + later * carry_grad(u, h, DECAY, THRESHOLD, RESET, DETACH)
        tl.store(slot, later, mask=inside)
        slot -= number
        upstream -= step


def _launched(
    kernel: Any, like: Tensor, terms: Terms, out: Tensor, *args: Any, **values: Any
) -> None:
    """Launch with the operands that forward and backward share; `like` is ``[T, B, ...]``."""
    timesteps, number = like.shape[0], like[0].numel()
    operands = terms[:6]
    names = itertools.product("AB", ("", "_WEIGHT", "_BIAS"))
    given = {
        f"{term}{part}": x is not None for (term, part), x in zip(names, operands, strict=True)
    }
    launch(
        kernel, number, like,
        *(like if x is None else x for x in operands), step_of(terms.a), step_of(terms.b),
        bytes_for(timesteps * number), timesteps, terms.channels, terms.pixels(like), out, *args,
        **given | {"A": kind(terms.a), "B": kind(terms.b)},
        CHANNELS_LAST=terms.channels_last, WIDE=type_of(out.dtype), **values,
    )  # fmt: skip


def forward(equation: str, terms: Terms, out: Tensor) -> None:
    """Fill `out` with the spikes."""
    _launched(_forward, terms.a, terms, out, **constants(equation, *FORWARD))


def backward(equation: str, grad: Tensor, terms: Terms, out: Tensor) -> None:
    """Fill `out` with the gradient by the current."""
    number, step, last = out[0].numel(), grad.stride(0), out.shape[0] - 1
    _launched(
        _backward, grad, terms, out, grad, step, last * number, last * step, **constants(equation)
    )
