"""Memory layout of images and of the weights of convolutions, and whether it survives a step."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_IMAGE_DIM: Final = 4
_CONVOLUTION: Final = torch.ops.aten.convolution.default


def arrange(model: nn.Module, memory_format: str) -> None:
    """Give the four-dimensional parameters of `model` this layout, in place.

    Before it is bound and before it has an optimiser: the parameters are new tensors. Unlike
    `nn.Module.to` this works on fake tensors, too; a parameter shared by modules stays shared.
    """
    if memory_format != "channels_last":
        return
    seen: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if parameter.dim() == _IMAGE_DIM:
                if id(parameter) not in seen:
                    seen[id(parameter)] = nn.Parameter(images(parameter.detach(), memory_format))
                setattr(module, name, seen[id(parameter)])


def images(batch: Tensor, memory_format: str) -> Tensor:
    """`batch` in this layout if it holds images `[B, C, H, W]`; otherwise as it is."""
    if memory_format != "channels_last" or batch.dim() != _IMAGE_DIM:
        return batch
    return batch.contiguous(memory_format=torch.channels_last)


class Convolutions(TorchDispatchMode):
    """Counts the convolutions of what runs inside, and those whose input is `channels_last`.

    Forward ones alone. An image of one channel or one pixel has both layouts at once and counts.
    """

    def __init__(self) -> None:
        """Nothing is counted yet."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self.channels_last = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operator; look at its input if it is a convolution of images."""
        if func is _CONVOLUTION and args[0].dim() == _IMAGE_DIM:
            self.count += 1
            kept = args[0].is_contiguous(memory_format=torch.channels_last)
            self.channels_last += int(kept)
        return func(*args, **(kwargs or {}))
