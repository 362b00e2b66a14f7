"""The networks for events of the PLIF paper: convolutions, max pools of spikes, a vote of spikes.

Fang et al., "Incorporating Learnable Membrane Time Constant to Enhance Learning of Spiking Neural
Networks" (ICCV 2021), as SpikingJelly's tutorial trains them, with LIF neurons.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ratebp.errors import OptionError
from ratebp.models.blocks import NeuronSettings, conv_norm, parts, scaled

PUBLISHED_NEURON: NeuronSettings = {
    "decay": 0.5,
    "threshold": 2.0,
    "reset": "hard",
    "surrogate": "atan",
    "alpha": 1.0,
}
_VOTERS = 10


class VotingNet(nn.Module):
    """Stages of conv3x3-BN-LIF-max pool, two spiking linear layers, ten voters a class.

    The output is a mean of spikes, so there is no readout synapse.

    Args:
        stages: each halves the map.
        channels: of every convolution.
        hidden: outputs of the first linear layer.
        num_classes: K.
        in_channels: of the frames.
        image_size: side of the frames.
        neuron: settings.
        dropout: share of spikes dropped in front of the linear layers.
    """

    def __init__(
        self,
        stages: int,
        channels: int,
        hidden: int,
        num_classes: int,
        in_channels: int,
        image_size: int,
        neuron: NeuronSettings | None,
        dropout: float,
    ) -> None:
        """Make the layers; weights are drawn by torch's defaults."""
        super().__init__()
        made = parts(PUBLISHED_NEURON if neuron is None else neuron)
        features: list[nn.Module] = []
        for number in range(stages):
            layers = conv_norm(made, channels if number else in_channels, channels)
            layers["lif"], layers["pool"] = made.neuron(), nn.MaxPool2d(2)
            features.append(nn.Sequential(layers))
        self.features = nn.Sequential(*features)
        inputs = channels * (image_size >> stages) ** 2
        layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
        for name, outputs in (("hidden", hidden), ("voters", _VOTERS * num_classes)):
            if dropout:
                layers[f"{name}_dropout"] = nn.Dropout(dropout)
            layers[name] = nn.Linear(inputs, outputs)
            layers[f"{name}_lif"] = made.neuron()
            inputs = outputs
        self.classifier = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        """One time step, ``[B, C, H, W] -> [B, K]``: shares of the voters that spike."""
        votes: Tensor = self.classifier(self.features(x)).unflatten(1, (-1, _VOTERS)).mean(2)
        return votes


def _refuse_side(model: str, image_size: int, stages: int) -> None:
    if image_size % 2**stages:
        raise OptionError(
            f"image_size of model {model!r} is {image_size}. Legal: a multiple of {2**stages}, "
            f"since {stages} max pools halve the frames, such as 128."
        )


def dvs_gesture_net(
    *,
    num_classes: int = 11,
    in_channels: int = 2,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    image_size: int = 128,
    hidden: int = 512,
    dropout: float = 0.0,
) -> nn.Module:
    """DVSGestureNet: five convolutions of 128 channels with max pools, a vote of spiking outputs.

    The published recipe has ``dropout=0.5`` (one mask a sequence) and the mean squared distance to
    the one-hot target as its loss. `width` scales the convolutions, `hidden` is the linear layer.
    """
    _refuse_side("dvs_gesture_net", image_size, 5)
    channels = scaled(128, width)
    return VotingNet(5, channels, hidden, num_classes, in_channels, image_size, neuron, dropout)


def cifar10dvs_net(
    *,
    num_classes: int = 10,
    in_channels: int = 2,
    width: float = 1.0,
    neuron: NeuronSettings | None = None,
    image_size: int = 128,
    hidden: int = 512,
    dropout: float = 0.0,
) -> nn.Module:
    """CIFAR10DVSNet: four convolutions of 128 channels with max pools, a vote of spiking outputs.

    As `dvs_gesture_net`, with one stage less.
    """
    _refuse_side("cifar10dvs_net", image_size, 4)
    channels = scaled(128, width)
    return VotingNet(4, channels, hidden, num_classes, in_channels, image_size, neuron, dropout)
