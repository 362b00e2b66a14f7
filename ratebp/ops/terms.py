"""The one or two terms of a current as the kernels take them, with equal strides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ratebp.ops import operands
from ratebp.ops.fused import laid_out


class Terms(NamedTuple):
    """A current ``[T, B, ...]`` in its terms: ``a_weight a + a_bias + b_weight b + b_bias``.

    Attributes:
        a: values, of stride 0 where one step stands for all; or spikes packed by
            `ratebp.ops.bits`; then the only term.
        a_weight: ``[C]``; None for 1.
        a_bias: ``[C]``; None for 0.
        b: the same, also where `a` are values; None where there is one term.
        b_weight: ``[C]``; None for 1.
        b_bias: ``[C]``; None for 0.
        channels: C; 1 where no term has channels.
        channels_last: whether the channels are innermost in memory.
    """

    a: Tensor
    a_weight: Tensor | None
    a_bias: Tensor | None
    b: Tensor | None
    b_weight: Tensor | None
    b_bias: Tensor | None
    channels: int
    channels_last: bool

    def pixels(self, like: Tensor) -> int:
        """Return how many values of one channel an image of ``[T, B, ...]`` has."""
        return max(1, like[0].numel() // max(1, like.shape[1] * self.channels))

    def strides(self, shape: torch.Size) -> tuple[int, ...]:
        """Return the strides of steps ``[T, B, ...]`` in the memory format of the terms."""
        return _strides(shape, self.channels_last)


def check_terms(operator: str, terms: Terms, like: Tensor) -> None:
    """Refuse terms that do not fit steps like `like`, ``[T, B, ...]``, or differ in strides."""
    operands.sequence(operator, like)
    operands.of_type(operator, operands.WIDE, steps=like)
    whole = terms.channels == 1 or (like.dim() > 2 and like.shape[2] == terms.channels)
    if not whole or (terms.channels_last and like.dim() != 5):
        raise operands.refused(operator, "steps", like, f"[T, B, C, ...] with C={terms.channels}")
    strides = terms.strides(like.shape)
    operands.strided(operator, strides, 1, steps=like)
    for values, *factors in (terms[:3], terms[3:6]):
        if kind(values) == "bits":
            assert values is not None
            operands.bits(operator, "bits", values, like.numel())
            operands.dense(operator, 0, bits=values)
        else:
            operands.alike(operator, like, values=values)
            operands.of_type(operator, (like.dtype,), values=values)
            operands.strided(operator, strides, 1, values=values)
        for factor in factors:
            if factor is not None and (
                kind(values) != "values"
                or factor.shape != (terms.channels,)
                or factor.device != like.device
                or not factor.is_floating_point()
            ):
                legal = (
                    f"[{terms.channels}], floats on {like.device} beside values, None beside others"
                )
                raise operands.refused(operator, "a factor", factor, legal)


def step_of(term: Tensor | None) -> int:
    """Return how far apart time steps of values lie in memory; 0 for bits or none."""
    return term.stride(0) if term is not None and kind(term) == "values" else 0


def kind(term: Tensor | None) -> str:
    """Return "values", "bits" or "none"."""
    if term is None:
        return "none"
    return "bits" if term.dtype == torch.uint8 else "values"


def terms_of(kept: Sequence[Tensor | None], shape: torch.Size) -> Terms:
    """Return the terms of a current ``[T, B, ...]``, of which `kept` holds three tensors each."""
    norms = [x for x in kept[::3] if x is not None and kind(x) == "values"]
    last = bool(norms) and _is_channels_last(norms[0])
    found: list[Tensor | None] = []
    for place in range(0, len(kept), 3):
        x = kept[place]
        if x is not None and kind(x) == "values":
            steps = x.unflatten(0, (-1, shape[1]))  # T of them, or one that stands for all
            x = laid_out(steps, _strides(shape, last), 0).expand(shape)
            found = [x, *kept[place + 1 : place + 3], *found]  # a sum of two, either way round
        else:
            found += [x, None, None]
    a, a_weight, a_bias, b, b_weight, b_bias = found + [None] * (6 - len(found))
    assert a is not None
    channels = norms[0].shape[1] if norms else 1
    return Terms(a, a_weight, a_bias, b, b_weight, b_bias, channels, last)


def _strides(shape: torch.Size, channels_last: bool) -> tuple[int, ...]:
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
