"""The same pools by torch's own functions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ratebp.ops.pool.torch import Windows


def naive_max_pool(x: Tensor, windows: Windows) -> Tensor:
    """Return the maxima of `x` ``[..., C, H, W]`` in its windows."""
    w = windows
    return F.max_pool2d(x, w.kernel, w.stride, w.padding, ceil_mode=w.ceil_mode)


def naive_avg_pool(x: Tensor, windows: Windows, *, padding_counts: bool = True) -> Tensor:
    """Return the means of `x` ``[..., C, H, W]`` in its windows."""
    w = windows
    return F.avg_pool2d(x, w.kernel, w.stride, w.padding, w.ceil_mode, padding_counts)
