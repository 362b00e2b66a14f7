"""Parts that the networks share: convolution with norm, scaled channel counts, residual stacks.

Everything here is written for one time step, `[B, C, H, W]` in and out, and is built of torch
layers, neurons of `ratebp.neurons` and `ratebp.norms` alone.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ratebp import neurons
from ratebp.errors import OptionError
from ratebp.norms import (
    BNTT,
    SPIKE_SCALE,
    TEBN,
    Scale,
    ScaledWSConv2d,
    ScaledWSLinear,
    td_batch_norm,
)

NeuronSettings = Mapping[str, Any]
MakeBlock = Callable[[int, int, int], nn.Module]

POOL = "pool"
"""In the layout of a VGG: an average pool of 2x2."""

NORMS = ("batch", "tdbn", "tebn", "bntt", "ws", "none")
_PER_STEP = {"tebn": TEBN, "bntt": BNTT}


@dataclass(frozen=True)
class Parts:
    """What a network is made of: every call gives a fresh neuron, norm, convolution or linear.

    A network needs one LIF object per place: a neuron keeps state over time, so an object used
    at two places would mix them. A network of kind "ws" has no norms but standardised weights, and
    each neuron is followed by a factor of 2.74; one of kind "none" has biases everywhere and
    wider weights, see `drawn`.

    Args:
        neuron_settings: of every neuron, as `ratebp.neurons.make` takes them.
        kind: one of `NORMS`.
        timesteps: T of norms with parameters per time step, else None.
        dropout: share of spikes that are dropped behind each neuron, one mask a sequence.

    Raises:
        OptionError: for another kind, and where T is missing or would be ignored.
    """

    neuron_settings: NeuronSettings
    kind: str = "batch"
    timesteps: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        if self.kind not in NORMS:
            raise OptionError.unknown("norm of a model", self.kind, NORMS)
        if (self.kind in _PER_STEP) != (self.timesteps is not None):
            raise OptionError(
                f"norm={self.kind!r} with timesteps={self.timesteps!r}: {', '.join(_PER_STEP)} "
                "have parameters per time step and need timesteps, the others take none."
            )

    def neuron(self) -> nn.Module:
        """A neuron, and behind it the factor of standardised weights and the dropout."""
        layers = OrderedDict[str, nn.Module](lif=neurons.make(self.neuron_settings))
        if self.kind == "ws":
            layers["scale"] = Scale()
        if self.dropout:
            layers["dropout"] = nn.Dropout(self.dropout)
        return nn.Sequential(layers) if len(layers) > 1 else layers["lif"]

    def norm(self, channels: int) -> nn.Module:
        """The norm after a convolution, or an Identity in its place."""
        if self.timesteps is not None:
            return _PER_STEP[self.kind](channels, self.timesteps)
        if self.kind == "tdbn":
            return td_batch_norm(channels, neurons.threshold(self.neuron_settings))
        return nn.BatchNorm2d(channels) if self.kind == "batch" else nn.Identity()

    def conv(self, inputs: int, outputs: int, kernel: int, stride: int, bias: bool) -> nn.Conv2d:
        """A convolution; padding keeps the size at stride 1 (odd kernels)."""
        if self.kind == "ws":
            return ScaledWSConv2d(inputs, outputs, kernel, stride)
        bias = bias or self.kind == "none"
        return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias)

    def linear(self, inputs: int, outputs: int) -> nn.Linear:
        """A hidden linear layer."""
        return ScaledWSLinear(inputs, outputs) if self.kind == "ws" else nn.Linear(inputs, outputs)

    def drawn(self, model: nn.Module) -> nn.Module:
        """Give `model` back; without norms, draw the hidden weights anew so that all layers spike.

        Weights from N(0, 1 / fan_in) in the first layer and N(0, 2.74^2 / fan_in) in those that
        read spikes, biases 0: potentials of unit variance where nothing is pooled. The readout
        keeps what it has.
        """
        if self.kind == "none":
            synapses = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
            for number, layer in enumerate(synapses[:-1]):
                gain = 1.0 if number == 0 else SPIKE_SCALE
                nn.init.normal_(layer.weight, std=gain * math.prod(layer.weight.shape[1:]) ** -0.5)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        return model


def parts(
    neuron: NeuronSettings | None,
    norm: str = "batch",
    timesteps: int | None = None,
    dropout: float = 0.0,
) -> Parts:
    """The parts of a network with these options."""
    return Parts(neuron or {}, norm, timesteps, dropout)


def scaled(channels: int, width: float) -> int:
    """`channels * width`, rounded to the nearest integer (half to even), and at least 1."""
    return max(1, round(channels * width))


def conv_norm(
    made: Parts, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False
) -> OrderedDict[str, nn.Module]:
    """A convolution and its norm."""
    return OrderedDict(
        conv=made.conv(inputs, outputs, kernel, stride, bias), norm=made.norm(outputs)
    )


def conv_norm_lif(
    made: Parts, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, bias: bool = False
) -> nn.Sequential:
    """Convolution, norm, neuron."""
    layers = conv_norm(made, inputs, outputs, kernel, stride, bias)
    layers["lif"] = made.neuron()
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


def vgg_net(
    stages: Sequence[int | str],
    map_size: int,
    num_classes: int,
    in_channels: int,
    width: float,
    made: Parts,
) -> nn.Sequential:
    """Convolutions and pools, an average to a map of fixed size, a linear layer; weights undrawn.

    Args:
        layout: in order, the output channels of a convolution with norm and neuron, or `POOL`, an
            average pool of 2x2.
        map_size: height and width of the map that the linear layer takes.
        num_classes: K.
        in_channels: of the images.
        width: factor on every channel count.
        made: what it is built of.
    """
    layers: list[nn.Module] = []
    channels = in_channels
    for part in stages:
        if isinstance(part, str):
            layers.append(nn.AvgPool2d(2))
        else:
            outputs = scaled(part, width)
            layers.append(conv_norm_lif(made, channels, outputs, bias=True))
            channels = outputs
    return nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*layers),
            pool=nn.AdaptiveAvgPool2d(map_size),
            flatten=nn.Flatten(),
            head=nn.Linear(channels * map_size**2, num_classes),
        )
    )


def draw_small_head(model: nn.Sequential) -> None:
    """Draw as OTTT's and SLTT's VGG do: convolutions by fan-out, head N(0, 0.01^2), biases 0."""
    kaiming_fan_out(model, zero_biases=True)
    head = model.get_submodule("head")
    assert isinstance(head, nn.Linear)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)


def kaiming_fan_out(model: nn.Module, *, zero_biases: bool = False) -> None:
    """Draw convolution weights from N(0, 2 / fan_out); everything else stays torch's default.

    Args:
        model: whose weights are drawn.
        zero_biases: whether the convolutions' biases become 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_biases and module.bias is not None:
                nn.init.zeros_(module.bias)
