"""Convolutions that keep no input where their weight is frozen; torch's keep it always."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ratebp.ops import Geometry, synapse


def frozen(layer: nn.Module) -> bool:
    """Does no weight of `layer` need a gradient, so that a backward never reads its input?

    The gradient by a bias does not depend on the input.
    """
    return all(name == "bias" or not p.requires_grad for name, p in layer.named_parameters())


def _frozen(layer: _ConvNd, x: Tensor) -> bool:
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or layer.weight.requires_grad:
        return False
    return x.requires_grad or (layer.bias is not None and layer.bias.requires_grad)


class _Lean(_ConvNd):
    def forward(self, input: Tensor) -> Tensor:
        """Return the map of ``[B, C, ...]``."""
        dims = len(self.kernel_size)
        if not _frozen(self, input) or input.dim() != dims + 2:
            plain: Tensor = super().forward(input)
            return plain
        padding: Any = self.padding
        if self.padding_mode != "zeros" or padding == "same":
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=mode)
            padding = "valid"
        padding = [0] * dims if padding == "valid" else padding
        geometry = Geometry(tuple(self.stride), tuple(padding), tuple(self.dilation), self.groups)
        return synapse(input, self.weight, self.bias, geometry)


class _LeanTransposed(_ConvTransposeNd):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return the map of ``[B, C, ...]``, of the size that is asked for."""
        dims = len(self.kernel_size)
        if not _frozen(self, input) or input.dim() != dims + 2:
            plain: Tensor = super().forward(input, output_size)
            return plain
        stride, padding, dilation = [*self.stride], [*self.padding], [*self.dilation]
        kernel = [*self.kernel_size]
        more = self._output_padding(
            input,
            output_size,
            stride,
            padding,
            kernel,
            dims,
            dilation,
        )
        geometry = Geometry(
            tuple(self.stride),
            tuple(self.padding),  # type: ignore[arg-type]
            tuple(self.dilation),
            self.groups,
            tuple(more),
        )
        return synapse(input, self.weight, self.bias, geometry)


class LeanConv1d(_Lean, nn.Conv1d):
    """A convolution over lines."""


class LeanConv2d(_Lean, nn.Conv2d):
    """A convolution over maps."""


class LeanConv3d(_Lean, nn.Conv3d):
    """A convolution over volumes."""


class LeanConvTranspose1d(_LeanTransposed, nn.ConvTranspose1d):
    """A transposed convolution over lines."""


class LeanConvTranspose2d(_LeanTransposed, nn.ConvTranspose2d):
    """A transposed convolution over maps."""


class LeanConvTranspose3d(_LeanTransposed, nn.ConvTranspose3d):
    """A transposed convolution over volumes."""


_LEAN: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv1d: LeanConv1d,
    nn.Conv2d: LeanConv2d,
    nn.Conv3d: LeanConv3d,
    nn.ConvTranspose1d: LeanConvTranspose1d,
    nn.ConvTranspose2d: LeanConvTranspose2d,
    nn.ConvTranspose3d: LeanConvTranspose3d,
}


def lean_convolution(layer: nn.Module) -> None:
    """Let a view's own copy of a convolution of torch keep less where its weight is frozen.

    The copy changes its class in place, as pools do (`ratebp.rules.pools.lean_pool`). Subclasses
    and parametrised layers stay.
    """
    layer.__class__ = _LEAN.get(type(layer), type(layer))
