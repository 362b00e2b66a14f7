"""The VGG-11 of OTTT: no norms, standardised weights, spikes times 2.74.

Xiao et al., "Online Training Through Time for Spiking Neural Networks" (NeurIPS 2022); without the
dropout of its neurons and without the feedback connection of its variant VGG-F.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from ratebp.models.blocks import NeuronSettings, conv_norm_lif, kaiming_fan_out, parts, scaled

_POOL = "pool"
_LAYOUT = (64, 128, _POOL, 256, 256, _POOL, 512, 512, _POOL, 512, 512)


def ottt_vgg11(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
) -> nn.Module:
    """OTTT's VGG-11 without norms: eight convolutions, three average pools, global average pool."""
    made = parts(neuron, "ws")
    layers: list[nn.Module] = []
    channels = in_channels
    for part in _LAYOUT:
        if isinstance(part, str):
            layers.append(nn.AvgPool2d(2))
        else:
            outputs = scaled(part, width)
            layers.append(conv_norm_lif(made, channels, outputs))
            channels = outputs
    head = nn.Linear(channels, num_classes)
    model = nn.Sequential(
        OrderedDict(
            features=nn.Sequential(*layers),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            head=head,
        )
    )
    kaiming_fan_out(model, zero_biases=True)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return model
