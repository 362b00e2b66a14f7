"""What kind of linear map a torch layer is, as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Geometry:
    """A convolution's numbers, or a matrix product when `stride` is empty; hashable."""

    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    output_padding: tuple[int, ...] | None = None
    """Of a transposed convolution; None for any other map."""

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the map of `x`: ``[B, in] -> [B, out]`` or ``[B, C, ...] -> [B, C', ...]``."""
        if not self.stride:
            return F.linear(x, weight, bias)
        return torch.convolution(
            x,
            weight,
            bias,
            self.stride,
            self.padding,
            self.dilation,
            *self._transposition(),
            self.groups,
        )

    def _transposition(self) -> tuple[bool, Sequence[int]]:
        if self.output_padding is None:
            return False, [0] * len(self.stride)
        return True, self.output_padding

    def all_but_channel(self, dims: int) -> list[int]:
        """Return the dimensions of an output with `dims` dimensions that a bias is shared over."""
        channel = 1 if self.stride else dims - 1
        return [d for d in range(dims) if d != channel]

    def gradients(
        self,
        grad: Tensor,
        x: Tensor | None,
        shape: torch.Size,
        weight: Tensor,
        wants: tuple[bool, bool],
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients by `x` and by `weight`, those that are wanted.

        Args:
            grad: gradient by the output; `grad`, `x` and `weight` have one dtype.
            x: the input, for the weight's gradient; None where that is not wanted.
            shape: of the input.
            weight: the map's.
            wants: whether the gradients by `x` and by `weight` are wanted.
        """
        if self.stride:
            dx, dw, _ = torch.ops.aten.convolution_backward(
                grad,
                grad.new_empty(()).expand(shape) if x is None else x,
                weight,
                None,
                self.stride,
                self.padding,
                self.dilation,
                *self._transposition(),
                self.groups,
                [wants[0], wants[1], False],
            )
            return dx, dw
        dx = grad @ weight if wants[0] else None
        dw = None if x is None else grad.flatten(0, -2).T @ x.flatten(0, -2)
        return dx, dw


def geometry_of(layer: nn.Module) -> Geometry | None:
    """Return the geometry of exactly torch's Linear or Conv1d/2d/3d; None for anything else.

    Subclasses, transposed convolutions, padding modes other than zeros and parametrised layers
    compute something of their own, so they take the general path of `naive_synapse`.
    """
    if type(layer) is nn.Linear:
        return Geometry()
    if type(layer) in (nn.Conv1d, nn.Conv2d, nn.Conv3d):
        assert isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            return Geometry(
                tuple(layer.stride), tuple(layer.padding), tuple(layer.dilation), layer.groups
            )
    return None
