"""Which operation a module of torch without a role is, and how it is called."""

from __future__ import annotations

from typing import Any

from torch import nn

_NAMES: dict[type[nn.Module], str] = {
    nn.Identity: "identity",
    nn.Flatten: "flatten",
    nn.Unflatten: "unflatten",
    nn.LeakyReLU: "leaky_relu",
    nn.LogSigmoid: "logsigmoid",
    nn.LogSoftmax: "log_softmax",
    nn.Softmax2d: "softmax",
    nn.Upsample: "interpolate",
    nn.UpsamplingNearest2d: "interpolate",
    nn.UpsamplingBilinear2d: "interpolate",
    nn.PixelShuffle: "pixel_shuffle",
    nn.PixelUnshuffle: "pixel_unshuffle",
    nn.ChannelShuffle: "channel_shuffle",
    nn.Unfold: "im2col",
    nn.Fold: "col2im",
    nn.CosineSimilarity: "cosine_similarity",
    nn.PairwiseDistance: "pairwise_distance",
    nn.MultiheadAttention: "MultiheadAttention",
    nn.RReLU: "rrelu",
    nn.PReLU: "prelu",
    **{
        kind: kind.__name__.lower()
        for kind in (
            *(nn.ReLU, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU, nn.CELU, nn.ReLU6, nn.Sigmoid),
            *(nn.Tanh, nn.Softplus, nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish, nn.Softsign),
            *(nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Threshold, nn.GLU, nn.Softmax),
            *(nn.Softmin, nn.Embedding, nn.Bilinear),
        )
    },
    **{
        kind: f"{name}_pool{n}d"
        for name, kinds in {
            "avg": (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
            "max": (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
            "lp": (nn.LPPool1d, nn.LPPool2d, nn.LPPool3d),
            "adaptive_avg": (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
            "adaptive_max": (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        }.items()
        for n, kind in enumerate(kinds, 1)
    },
    **dict.fromkeys(
        (
            *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
            *(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
            *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
            *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
            *(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
        ),
        "pad",
    ),
}
MODULES = frozenset(_NAMES)
"""Classes of torch modules that are known operations."""

_ARGUMENTS = ("dim", "start_dim", "end_dim", "inplace")


def name_of_module(module: nn.Module) -> str:
    """Return the name of the operation that a torch module without a role is."""
    return _NAMES.get(type(module), type(module).__name__)


def arguments_of_module(module: nn.Module) -> dict[str, Any]:
    """Return how that operation is called, as far as its kinds or its samples depend on it."""
    if isinstance(module, nn.Softmax2d):
        return {"dim": -3}
    own = vars(module)
    known = {name: own[name] for name in _ARGUMENTS if name in own}
    if name_of_module(module) == "pad":
        return {"pad": module.padding, "value": getattr(module, "value", None)}
    if isinstance(module, nn.PairwiseDistance):
        return {"keepdim": module.keepdim}
    if isinstance(module, nn.Bilinear):
        return {"bias": module.bias}
    return known


LIBRARIES = ("torch.", "ratebp.neurons.", "ratebp.norms.", "ratebp.models.")
"""Where modules come from whose forward changes nothing beside its tensors."""


def writes_its_own_forward(module: nn.Module) -> bool:
    """Does a leaf compute something of its own, as a subclass of a torch layer may?"""
    home = f"{type(module).forward.__module__}."
    return not home.startswith(LIBRARIES)
