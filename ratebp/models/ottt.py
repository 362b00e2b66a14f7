"""The VGG-11 of OTTT: no norms, standardised weights, spikes times 2.74.

Xiao et al., "Online Training Through Time for Spiking Neural Networks" (NeurIPS 2022), with the
feedback connection of its variant VGG-F as an option.
"""

from __future__ import annotations

from torch import Tensor, nn

from ratebp.models.blocks import POOL, NeuronSettings, draw_small_head, parts, vgg_net
from ratebp.neurons import Delay

_STAGES = (64, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512)


def ottt_vgg11(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    dropout: float = 0.0,
    feedback: bool = False,
) -> nn.Module:
    """OTTT's VGG-11 without norms: eight convolutions, three average pools, global average pool.

    Its recipe for event data has a dropout of 0.1 behind each neuron. With `feedback` it is VGG-F,
    see `FeedbackVGG`, which runs step by step alone.
    """
    made = parts(neuron, "ws", dropout=dropout)
    model = vgg_net(_STAGES, 1, num_classes, in_channels, width, made)
    draw_small_head(model)
    return FeedbackVGG(model) if feedback else model


class FeedbackVGG(nn.Module):
    """VGG-F: what the last layer sent on at the last time step is a current of the first.

    ::

        I_1[t] = conv(x[t]) + back(up(2.74 s_L[t-1]))          t > 1

    `up` repeats each pixel, `back` is a convolution of 3x3 with a bias whose weights start at 0.
    The published code sends no gradient through the feedback to earlier time steps; neither does
    online training, but BPTT here does.
    """

    def __init__(self, net: nn.Sequential) -> None:
        """Take the parts of the VGG without feedback."""
        super().__init__()
        features = net.get_submodule("features")
        assert isinstance(features, nn.Sequential)
        first = features[0]
        assert isinstance(first, nn.Sequential)
        self.first, self.later = first, features[1:]
        self.head = net[1:]
        channels = [m.out_channels for m in features.modules() if isinstance(m, nn.Conv2d)]
        self.delay = Delay()
        self.up = nn.Upsample(scale_factor=2 ** _STAGES.count(POOL))
        self.back = nn.Conv2d(channels[-1], channels[0], 3, padding=1)
        for parameter in self.back.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``[B, K]`` for one time step ``[B, C, H, W]``, H and W multiples of 8."""
        conv, norm, neuron = self.first
        current = norm(conv(x))
        late = self.delay()
        if late is not None:
            current = current + self.back(self.up(late))
        signal = self.later(neuron(current))
        self.delay.keep(signal)
        logits: Tensor = self.head(signal)
        return logits
