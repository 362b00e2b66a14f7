"""What a batch norm may get, refused by place where torch's own norm would refuse it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ratebp.errors import OptionError
from ratebp.ops import fixed_norm
from ratebp.views import Leaf, place_of

_DIMS = {nn.BatchNorm1d: (2, 3), nn.BatchNorm2d: (4,), nn.BatchNorm3d: (5,)}


def refuse_input(norm: _BatchNorm, c: Tensor) -> None:
    """Check that a batch norm gets what torch's own takes.

    Raises:
        OptionError: for an input of other dimensions or channels, and, where the statistics are
            those of the batch, for a single value a channel: its variance is 0, so that nothing
            before it would have a gradient.
    """
    dims = _DIMS.get(type(norm), (c.dim(),))
    if c.dim() not in dims or c.shape[1] != norm.num_features:
        raise OptionError(
            f"{place_of(norm)} gets {tuple(c.shape)}, but takes {norm.num_features} channels in "
            f"dimension 1, of {' or '.join(map(str, dims))} dimensions. Check the shape of x, "
            "time-major [T, B, ...], and what comes before the norm."
        )
    if uses_batch(norm) and c.numel() == c.shape[1]:
        raise OptionError(
            f"{place_of(norm)} gets a single value a channel, {tuple(c.shape)}, which has no "
            "variance: in training mode it needs more. Give it at least two samples (a data loader "
            "with drop_last=True), put it into eval mode, or use a norm of each sample "
            "(nn.GroupNorm, nn.LayerNorm)."
        )


def as_torch(norm: _BatchNorm, c: Tensor) -> Tensor:
    """Return what torch's own batch norm makes of `c`, keeping no input that no gradient needs.

    Torch's norm keeps its input always. Where running statistics are constants and no gradient by
    the weight is asked for, none depends on it.
    """
    weight = norm.weight
    asks = torch.is_grad_enabled() and weight is not None and weight.requires_grad
    if uses_batch(norm) or asks or torch.compiler.is_compiling():
        out: Tensor = _BatchNorm.forward(norm, c)
        return out
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return fixed_norm(c, weight, norm.bias, norm.running_mean, norm.running_var, norm.eps)


class NormAsItIs(Leaf):
    """One of torch's norms of the batch, which refuses single values by name."""

    takes_one_step = True

    def __init__(self, norm: nn.Module) -> None:
        """Take a norm whose forward is that of torch's batch norms."""
        super().__init__()
        assert isinstance(norm, _BatchNorm)
        self.norm = norm

    def forward(self, c: Tensor) -> Tensor:
        """Return what the norm makes of `c`."""
        refuse_input(self.norm, c)
        return as_torch(self.norm, c)


def as_it_is(norm: nn.Module, path: str) -> nn.Module:
    """Return what stands for a norm that runs as it is: itself, or `NormAsItIs`."""
    known = isinstance(norm, _BatchNorm) and type(norm).forward is _BatchNorm.forward
    return NormAsItIs(norm) if known else norm


def uses_batch(norm: _BatchNorm) -> bool:
    """Are the statistics those of the batch, and not the running ones?"""
    return norm.training or norm.running_mean is None
