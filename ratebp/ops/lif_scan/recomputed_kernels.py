"""The LIF scan in Triton from what the leaves before it keep: one pass each way.

A lane adds up its terms, batch norm's affine included, and runs the neuron. The forward does so
too, instead of reading the sum that it is given, so that both see the same potentials to the bit.
The backward writes them into the memory of its result and comes back over them.
"""

# No postponed annotations: triton reads `tl.constexpr` from them.
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops.bits.kernels import bytes_for
from ratebp.ops.kernels import (
    FORWARD,
    beside,
    carry,
    carry_grad,
    cast,
    constants,
    dense,
    derivative,
    equation_of,
    laid_out,
    launch,
    operator,
    serves,
    type_of,
)
from ratebp.ops.lif_scan import recomputed
from ratebp.ops.lif_scan.kernels import lif_spikes
from ratebp.ops.lif_scan.recomputed import Spikes, Term


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
    a, a_weight, a_bias, b, b_weight, b_bias, size, timesteps, channels, pixels, out, i, number,
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
    index = i
    u = tl.zeros([BLOCK], WIDE)
    for _ in range(timesteps):
        current = _term(a, index, logical, inside, size, wa, ba, A, WIDE)
        if B != "none":
            current += _term(b, index, logical, inside, size, wb, bb, B, WIDE)
        u += current
        tl.store(out + index, cast(u >= THRESHOLD, WIDE) if SPIKES else u, mask=inside)
        u = carry(u, DECAY, THRESHOLD, RESET)
        index += number
        logical += number


@triton.jit
def _forward(
    a, a_weight, a_bias, b, b_weight, b_bias, size, timesteps, channels, pixels, out, number,
    A: tl.constexpr, A_WEIGHT: tl.constexpr, A_BIAS: tl.constexpr,
    B: tl.constexpr, B_WEIGHT: tl.constexpr, B_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    _run(
        a, a_weight, a_bias, b, b_weight, b_bias, size, timesteps, channels, pixels, out, i, number,
        A, A_WEIGHT, A_BIAS, B, B_WEIGHT, B_BIAS, CHANNELS_LAST, True, WIDE, DECAY, THRESHOLD,
        RESET, BLOCK,
    )  # fmt: skip


@triton.jit
def _backward(
    a, a_weight, a_bias, b, b_weight, b_bias, size, timesteps, channels, pixels, out,
    grad, step, last, last_grad, number,
    A: tl.constexpr, A_WEIGHT: tl.constexpr, A_BIAS: tl.constexpr,
    B: tl.constexpr, B_WEIGHT: tl.constexpr, B_BIAS: tl.constexpr, CHANNELS_LAST: tl.constexpr,
    WIDE: tl.constexpr, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr,
    DETACH: tl.constexpr, SURROGATE: tl.constexpr, ALPHA: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    _run(
        a, a_weight, a_bias, b, b_weight, b_bias, size, timesteps, channels, pixels, out, i, number,
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
    kernel: Any, like: Tensor, terms: tuple[Tensor | None, ...], channels: int, last: bool,
    out: Tensor, *args: Any, **values: Any,
) -> None:  # fmt: skip
    """Launch with the operands that forward and backward share; `like` is ``[T, B, ...]``."""
    timesteps, number = like.shape[0], like[0].numel()
    pixels = max(1, number // max(1, like.shape[1] * channels))
    operands = [like if x is None else x for x in terms]
    given = {
        f"{term}{part}": x is not None
        for (term, part), x in zip(
            itertools.product("AB", ("", "_WEIGHT", "_BIAS")), terms, strict=True
        )
    }
    launch(
        kernel, number, like,
        *operands, bytes_for(timesteps * number), timesteps, channels, pixels, out, *args,
        **given | {"A": _kind(terms[0]), "B": _kind(terms[3])},
        CHANNELS_LAST=last, WIDE=type_of(out.dtype), **values,
    )  # fmt: skip


@operator("lif_spikes_of")
def _forward_op(
    a: Tensor, a_weight: Tensor | None, a_bias: Tensor | None, b: Tensor | None,
    b_weight: Tensor | None, b_bias: Tensor | None, channels: int, channels_last: bool,
    equation: str,
) -> Tensor:  # fmt: skip
    out = beside(a, 1, a.dtype)
    terms = (a, a_weight, a_bias, b, b_weight, b_bias)
    _launched(_forward, a, terms, channels, channels_last, out, **constants(equation, *FORWARD))
    return out


@_forward_op.register_fake
def _(
    a: Tensor, a_weight: Tensor | None, a_bias: Tensor | None, b: Tensor | None,
    b_weight: Tensor | None, b_bias: Tensor | None, channels: int, channels_last: bool,
    equation: str,
) -> Tensor:  # fmt: skip
    return beside(a, 1, a.dtype)


@operator("lif_recomputed_backward")
def _backward_op(
    grad: Tensor, a: Tensor, a_weight: Tensor | None, a_bias: Tensor | None, b: Tensor | None,
    b_weight: Tensor | None, b_bias: Tensor | None, channels: int, channels_last: bool,
    equation: str,
) -> Tensor:  # fmt: skip
    out = beside(grad, 1, grad.dtype)
    number, step, last = out[0].numel(), grad.stride(0), out.shape[0] - 1
    terms = (a, a_weight, a_bias, b, b_weight, b_bias)
    _launched(
        _backward, grad, terms, channels, channels_last, out,
        grad, step, last * number, last * step, **constants(equation),
    )  # fmt: skip
    return out


@_backward_op.register_fake
def _(
    grad: Tensor, a: Tensor, a_weight: Tensor | None, a_bias: Tensor | None, b: Tensor | None,
    b_weight: Tensor | None, b_bias: Tensor | None, channels: int, channels_last: bool,
    equation: str,
) -> Tensor:  # fmt: skip
    return beside(grad, 1, grad.dtype)


def _kind(term: Tensor | None) -> str:
    if term is None:
        return "none"
    return "bits" if term.dtype == torch.uint8 else "values"


def _strides(shape: torch.Size, channels_last: bool) -> tuple[int, ...]:
    """Return the strides of steps ``[T, B, ...]`` in one of the layouts that the backward runs."""
    order = [0, 1, 3, 4, 2] if channels_last else list(range(len(shape)))
    strides, size = [0] * len(shape), 1
    for d in reversed(order):
        strides[d], size = size, size * shape[d]
    return tuple(strides)


def _is_channels_last(x: Tensor) -> bool:
    return (
        x.dim() == 4
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=torch.channels_last)
    )


class _Layout(NamedTuple):
    """In which layout the operands run: the channels of a norm, and whether they are innermost."""

    strides: tuple[int, ...]
    channels: int
    channels_last: bool


def _prepared(kept: Sequence[Tensor | None], shape: torch.Size) -> tuple[list[Any], _Layout]:
    """Return the terms, each three tensors, in one layout of steps ``[T, B, ...]``."""
    norms = [x for x in kept[::3] if x is not None and _kind(x) == "values"]
    last = bool(norms) and _is_channels_last(norms[0])
    layout = _Layout(_strides(shape, last), norms[0].shape[1] if norms else 1, last)
    terms: list[Tensor | None] = []
    for place in range(0, len(kept), 3):
        x = kept[place]
        if x is not None and _kind(x) == "values":
            x = laid_out(x.view(shape), layout.strides, 0)
            terms = [x, *kept[place + 1 : place + 3], *terms]  # a sum of two, either way round
        else:
            terms += [x, None, None]
    return [*terms, *[None] * (6 - len(terms))], layout


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, equation: str, *kept: Tensor | None) -> Tensor:
        ctx.save_for_backward(*kept)
        ctx.equation = equation
        terms, layout = _prepared(kept, current.shape)
        spikes: Tensor
        if _kind(terms[0]) == "bits":
            spikes = lif_spikes(dense(current, 1), equation)
        else:
            spikes = _forward_op(*terms, *layout[1:], equation)
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        terms, layout = _prepared(ctx.saved_tensors, grads[0].shape)
        upstream = laid_out(grads[0], layout.strides, 1)
        out = _backward_op(upstream, *terms, *layout[1:], ctx.equation)
        return out, None, *[None] * len(ctx.saved_tensors)


def lif_scan_of(current: Tensor, dynamics: Dynamics, terms: tuple[Term, ...]) -> Tensor:
    """Return what `lif_scan` returns, keeping only `terms` for the backward.

    Args:
        current: input current, ``[T, B, ...]``, equal to the sum of `terms` in their order.
        dynamics: the layer's constants.
        terms: one or two, in the type of `current`, which must be float32 or wider.
    """
    if not serves("lif_scan_of", current, dynamics):
        return recomputed.lif_scan_of(current, dynamics, terms)
    kept: list[Tensor | None] = []
    for term in terms:
        if isinstance(term, Spikes):
            kept += [term.bits, None, None]
        else:
            kept += [term.xhat, term.weight, term.bias]
    fixed = [None if each is None else each.detach() for each in kept]
    out: Tensor = _Recomputed.apply(current, equation_of(dynamics), *fixed)
    return out
