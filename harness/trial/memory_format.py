"""Memory format of images and convolution weights, and whether it survives a step."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.errors import AbsentError

_IMAGE_DIM: Final = 4
_FEWEST_CHANNELS: Final = 8
"""Of a strided 1x1 convolution on a CPU, in float32: with fewer, the backward that torch takes from
oneDNN wrote beyond its memory (torch 2.13, AVX-512; 2 to 6 channels were seen to)."""
_CONVOLUTION: Final = torch.ops.aten.convolution.default


def arrange(model: nn.Module, memory_format: str) -> None:
    """Give the four-dimensional parameters of `model` this memory format, in place.

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


def refuse_unsafe(model: nn.Module, memory_format: str) -> None:
    """Refuse models that torch runs wrongly in this memory format.

    Args:
        model: on its device and of its type.
        memory_format: of the cell.

    Raises:
        AbsentError: for a strided 1x1 convolution of few channels in float32 on a CPU.
    """
    for path, layer in model.named_modules() if memory_format == "channels_last" else ():
        if not isinstance(layer, nn.Conv2d) or layer.weight.device.type != "cpu":
            continue
        strided = layer.kernel_size == (1, 1) and max(layer.stride) > 1
        few = layer.in_channels < _FEWEST_CHANNELS and layer.weight.dtype == torch.float32
        if strided and few:
            raise AbsentError(
                f"`{path}`, a 1x1 convolution with a stride and {layer.in_channels} input "
                "channels, is not safe in channels_last on a CPU: torch's backward of it writes "
                f"beyond its memory. Use {_FEWEST_CHANNELS} channels or more (a larger width), "
                "memory_format = 'contiguous', or float64."
            )


def images(batch: Tensor, memory_format: str) -> Tensor:
    """`batch` in this memory format if it holds images `[B, C, H, W]`; otherwise unchanged."""
    if memory_format != "channels_last" or batch.dim() != _IMAGE_DIM:
        return batch
    return batch.contiguous(memory_format=torch.channels_last)


class Convolutions(TorchDispatchMode):
    """Counts the convolutions of what runs inside, and those whose input is `channels_last`.

    Forward ones alone. An image of one channel or one pixel has both formats and counts.
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
