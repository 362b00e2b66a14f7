"""Pools of maps that keep next to nothing.

Torch's keep their whole input, and a max pool eight bytes an output besides. The backward of a max
pool needs the place of each maximum, which one byte says within its window; that of an average
pool needs the shape alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Pair = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """The windows of a pool over maps.

    Attributes:
        kernel: height and width.
        stride: likewise.
        padding: likewise.
        ceil_mode: whether a last window may reach beyond the map.
    """

    kernel: Pair
    stride: Pair
    padding: Pair
    ceil_mode: bool

    def starts(self, map_width: int, outputs: Sequence[int], device: torch.device) -> Tensor:
        """Return the flat index of the first place of each window, ``[H', W']``.

        It is negative where the window begins in the padding.
        """
        rows, columns = (
            torch.arange(n, device=device) * s - p
            for n, s, p in zip(outputs, self.stride, self.padding, strict=True)
        )
        return rows[:, None] * map_width + columns


class _MaxPool(torch.autograd.Function):
    """`max_pool`; keeps the place of each maximum, one byte."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, windows: Windows) -> Tensor:
        out: Tensor
        places: Tensor
        out, places = torch.ops.aten.max_pool2d_with_indices(
            x, windows.kernel, windows.stride, windows.padding, (1, 1), windows.ceil_mode
        )
        width = x.shape[-1]
        inside = places - windows.starts(width, out.shape[-2:], x.device)
        # A place inside a window is row * width + column; its byte is row * kernel width + column.
        rows = inside.div(width, rounding_mode="floor")
        ctx.save_for_backward((inside - rows * (width - windows.kernel[1])).to(torch.uint8))
        ctx.windows, ctx.shape = windows, x.shape
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        windows: Windows = ctx.windows
        (grad,), width = grads, ctx.shape[-1]
        inside = kept.to(torch.int64)
        rows = inside.div(windows.kernel[1], rounding_mode="floor")
        places = inside + rows * (width - windows.kernel[1])
        places += windows.starts(width, grad.shape[-2:], grad.device)
        # The operator reads the shape of its input alone.
        like = grad.new_empty(()).expand(ctx.shape)
        found: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            grad, like, windows.kernel, windows.stride, windows.padding, (1, 1),
            windows.ceil_mode, places,
        )  # fmt: skip
        return found, None


def max_pool(x: Tensor, windows: Windows) -> Tensor:
    """Return the maxima of `x` ``[..., C, H, W]`` in its windows, as `torch` gives them.

    ::

        y[i] = max x[j], j in window i
        dL/dx[j] = sum of dL/dy[i] over the windows whose first maximum j was
    """
    out: Tensor = _MaxPool.apply(x, windows)
    return out


class _AvgPool(torch.autograd.Function):
    """`avg_pool`; keeps the input's shape."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, windows: Windows, padding_counts: bool) -> Tensor:
        ctx.windows, ctx.shape, ctx.padding_counts = windows, x.shape, padding_counts
        out: Tensor = torch.ops.aten.avg_pool2d(
            x, windows.kernel, windows.stride, windows.padding, windows.ceil_mode, padding_counts
        )
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        windows: Windows = ctx.windows
        like = grads[0].new_empty(()).expand(ctx.shape)
        found: Tensor = torch.ops.aten.avg_pool2d_backward(
            grads[0], like, windows.kernel, windows.stride, windows.padding, windows.ceil_mode,
            ctx.padding_counts, None,
        )  # fmt: skip
        return found, None, None


def avg_pool(x: Tensor, windows: Windows, *, padding_counts: bool = True) -> Tensor:
    """Return the means of `x` ``[..., C, H, W]`` in its windows, as `torch` gives them.

    Args:
        x: maps.
        windows: of the pool.
        padding_counts: whether the zeros of the padding are among what is averaged.
    """
    out: Tensor = _AvgPool.apply(x, windows, padding_counts)
    return out
