"""Parts that the networks share: convolution with norm, scaled channel counts, residual stacks.

Everything here is written for one time step, `[B, C, H, W]` in and out, and is built of torch
layers and `ratebp.neurons.LIF` alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from ratebp.neurons import LIF

NeuronSettings = Mapping[str, Any]
MakeNeuron = Callable[[], LIF]
MakeBlock = Callable[[int, int, int], nn.Module]


def neuron_maker(neuron: NeuronSettings | None) -> MakeNeuron:
    """A function that gives a fresh `LIF` with these settings at every call.

    A network needs one LIF object per place: a neuron keeps state over time, so an object used
    at two places would mix them.
    """
    return partial(LIF, **(neuron or {}))


def scaled(channels: int, width: float) -> int:
    """`channels * width`, rounded to the nearest integer (half to even), and at least 1."""
    return max(1, round(channels * width))


def conv_norm(
    inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False
) -> OrderedDict[str, nn.Module]:
    """A convolution and its batch norm; padding keeps the size at stride 1 (odd kernels)."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias)
    return OrderedDict(conv=conv, norm=nn.BatchNorm2d(outputs))


def conv_norm_lif(
    inputs: int,
    outputs: int,
    neuron: MakeNeuron,
    kernel: int = 3,
    stride: int = 1,
    bias: bool = False,
) -> nn.Sequential:
    """Convolution, batch norm, neuron."""
    layers = conv_norm(inputs, outputs, kernel, stride, bias)
    layers["lif"] = neuron()
    return nn.Sequential(layers)


def stages(
    block: MakeBlock, inputs: int, widths: Sequence[int], depths: Sequence[int], first_stride: int
) -> nn.Sequential:
    """Residual stages: the first block of each halves the map, save that of the first stage.

    Args:
        block: makes one block from (input channels, output channels, stride).
        inputs: channels that arrive from the stem.
        widths: output channels of each stage.
        depths: blocks in each stage.
        first_stride: stride of the first stage; later stages begin with 2.
    """
    made = []
    for number, (outputs, depth) in enumerate(zip(widths, depths, strict=True)):
        stride = first_stride if number == 0 else 2
        blocks = [block(inputs, outputs, stride)]
        blocks += [block(outputs, outputs, 1) for _ in range(depth - 1)]
        made.append(nn.Sequential(*blocks))
        inputs = outputs
    return nn.Sequential(*made)


def residual_net(stem: nn.Module, body: nn.Module, head: nn.Module) -> nn.Sequential:
    """Stem, residual stages, global average pool and head: `[B, C, H, W] -> [B, K]`."""
    return nn.Sequential(
        OrderedDict(
            stem=stem, stages=body, pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), head=head
        )
    )


def kaiming_fan_out(model: nn.Module) -> None:
    """Draw convolution weights from N(0, 2 / fan_out); everything else stays torch's default."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
