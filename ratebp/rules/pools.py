"""Pools that keep less than torch's, with the same values and gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ratebp.ops.pool import Windows, avg_pool, max_pool


class LeanMaxPool(nn.MaxPool2d):
    """A max pool that keeps one byte an output."""

    windows: Windows

    def forward(self, x: Tensor) -> Any:
        """Return the maxima, ``[..., C, H', W']``."""
        if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and x.requires_grad):
            return super().forward(x)
        return max_pool(x, self.windows)


class LeanAvgPool(nn.AvgPool2d):
    """An average pool that keeps no tensor."""

    windows: Windows

    def forward(self, x: Tensor) -> Tensor:
        """Return the means, ``[..., C, H', W']``."""
        if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and x.requires_grad):
            return super().forward(x)
        return avg_pool(x, self.windows, padding_counts=self.count_include_pad)


def lean_pool(pool: nn.Module) -> None:
    """Let a view's own copy of a pool of torch keep less; others, and subclasses, stay.

    The copy changes its class in place, so it is the same module under all its names and in
    whatever holds it.
    """
    if type(pool) is nn.MaxPool2d and _pair(pool.dilation) == (1, 1) and not pool.return_indices:
        windows = _windows(pool)
        if windows.kernel[0] * windows.kernel[1] <= torch.iinfo(torch.uint8).max + 1:
            pool.__class__ = LeanMaxPool
            pool.__dict__["windows"] = windows
    elif type(pool) is nn.AvgPool2d and pool.divisor_override is None:
        pool.__class__ = LeanAvgPool
        pool.__dict__["windows"] = _windows(pool)


def _windows(pool: nn.MaxPool2d | nn.AvgPool2d) -> Windows:
    return Windows(_pair(pool.kernel_size), _pair(pool.stride), _pair(pool.padding), pool.ceil_mode)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
