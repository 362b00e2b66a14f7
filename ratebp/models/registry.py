"""The networks by name: one checked door, and what the catalogue says of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from numbers import Integral, Real
from typing import Any, cast

from torch import nn

from ratebp import neurons
from ratebp.doors import Broken, Entry, discover, networks_of
from ratebp.errors import OptionError
from ratebp.legal import positive
from ratebp.models.blocks import NORMS
from ratebp.models.dvs_gesture import cifar10dvs_net, dvs_gesture_net
from ratebp.models.e_spikeformer import e_spikeformer
from ratebp.models.ms_resnet import ms_resnet18, ms_resnet34, ms_resnet104
from ratebp.models.nf_resnet import nf_resnet34
from ratebp.models.os import os_resnet19
from ratebp.models.ottt import ottt_vgg11
from ratebp.models.preact import preact_resnet34
from ratebp.models.qkformer import qkformer
from ratebp.models.resnet import resnet18, resnet19, tiny_resnet
from ratebp.models.sdt import sdt
from ratebp.models.sdt_v2 import sdt_v2
from ratebp.models.sew import sew_resnet34
from ratebp.models.shd import shd_net
from ratebp.models.sltt import sltt_resnet18, sltt_vgg11
from ratebp.models.spikformer import spikformer
from ratebp.models.spikingresformer import spikingresformer
from ratebp.models.vgg import vgg11, vgg13, vggsnn

_BUILDERS: tuple[Callable[..., nn.Module], ...] = (
    tiny_resnet,
    resnet18,
    resnet19,
    vgg11,
    vgg13,
    vggsnn,
    sew_resnet34,
    preact_resnet34,
    nf_resnet34,
    ottt_vgg11,
    sltt_resnet18,
    sltt_vgg11,
    os_resnet19,
    ms_resnet18,
    ms_resnet34,
    ms_resnet104,
    spikformer,
    sdt,
    sdt_v2,
    e_spikeformer,
    qkformer,
    spikingresformer,
    dvs_gesture_net,
    cifar10dvs_net,
    shd_net,
)


GROUP = "ratebp.models"


@cache
def _discovered() -> tuple[dict[str, Entry], tuple[Broken, ...]]:
    ours = ((each.__name__, partial(_entry, each.__name__, each)) for each in _BUILDERS)
    return discover(GROUP, ours, _entry, networks_of)


def _entry(name: str, builder: Any, source: str = "builtin") -> Entry:
    return Entry.found(name, builder, source, "model")


def names() -> tuple[str, ...]:
    """Names of all networks, ours first and of these the smallest."""
    return tuple(_discovered()[0])


def broken() -> tuple[Broken, ...]:
    """The plug-ins that could not be loaded."""
    return _discovered()[1]


def get(name: str) -> Entry:
    """The catalogue's entry of a network.

    Raises:
        OptionError: no network has this name; the message lists those that exist.
    """
    if name not in names():
        raise OptionError.unknown("model", name, names())
    return _discovered()[0][name]


def build(name: str, **options: Any) -> nn.Module:
    """Build a spiking network for one time step, `[B, C, H, W] -> [B, K]`.

    Weights are drawn from torch's global generator: seed it first for a repeatable network.

    Args:
        name: one of `names()`.
        **options: `num_classes` and `in_channels` (whole numbers, at least 1), `width` (a positive
            factor on every hidden channel count, 1.0 is the paper's; counts are rounded to the
            nearest integer, half to even, and at least 1), `neuron` (a mapping: the "type" of every
            neuron, "lif" if absent, and its settings; see `ratebp.neurons`); most also `norm` (see
            `ratebp.norms`: "batch", "tdbn", "tebn", "bntt", "ws", "none") and `timesteps` (T, for
            the norms with parameters per time step: tebn and bntt); those of OTTT and SLTT
            `dropout` (a share in [0, 1)), and `ottt_vgg11` `feedback` (true or false). Defaults are
            those of `get(name).defaults`.

    Raises:
        OptionError: unknown name, unknown option or a value out of range.
    """
    return built(get(name), options)


def built(
    entry: Entry, options: Mapping[str, Any], offered: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build the network of an entry, of this catalogue or of a place.

    Args:
        entry: what to build.
        options: as the user gives them.
        offered: handed over where it takes them and `options` has none.

    Raises:
        OptionError: an option is not legal, or building fails or gives no module.
    """
    if entry.source == "builtin":
        options = {**(offered or {}), **options}
        for option, value in options.items():
            if option not in entry.defaults:
                raise OptionError.unknown(f"option of model {entry.name!r}", option, entry.defaults)
            if value is not None or entry.defaults[option] is not None:
                _CHECKS[option](f"{option} of model {entry.name!r}", value)
        return cast(nn.Module, entry.builder(**options))
    made = entry.made(options, offered)
    if not isinstance(made, nn.Module):
        raise OptionError(
            f"model {entry.name!r} gives an object of type {type(made).__name__}, which is no "
            "nn.Module. Name a class of nn.Module, or a function that returns one."
        )
    return made


def _check_count(place: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise OptionError(f"{place} is {value!r}. Legal: a whole number, at least 1.")


def _check_width(place: str, value: object) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value <= 0:  # type: ignore[arg-type, operator]
        raise OptionError(
            f"{place} is {value!r}. Legal: a positive number; 1.0 is the paper's network, "
            "0.5 halves its channels."
        )


def _check_neuron(place: str, value: object) -> None:
    neurons.check(value, place)


def _check_norm(place: str, value: object) -> None:
    if value not in NORMS:
        raise OptionError.unknown(place.replace(" of ", " in ", 1) + ":", value, NORMS)


def _check_share(place: str, value: object) -> None:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not 0 <= value < 1:  # type: ignore[operator]
        raise OptionError(f"{place} is {value!r}. Legal: a number of at least 0 and below 1.")


def _check_flag(place: str, value: object) -> None:
    if not isinstance(value, bool):
        raise OptionError(f"{place} is {value!r}. Legal: true or false.")


def _check_name(place: str, value: object) -> None:
    if not isinstance(value, str):
        raise OptionError(f"{place} is {value!r}. Legal: a name, see ratebp.models.get(...).")


def _check_positive(place: str, value: object) -> None:
    positive(place, value)


def _check_pools(place: str, value: object) -> None:
    if not isinstance(value, str) or len(value) != 4 or set(value) - {"0", "1"}:
        raise OptionError(
            f"{place} is {value!r}. Legal: four of 0 and 1 in a string such as '0011', 1 for each "
            "convolution of the embedding with a max pool."
        )


_CHECKS: Mapping[str, Callable[[str, object], None]] = {
    "num_classes": _check_count,
    "in_channels": _check_count,
    "width": _check_width,
    "neuron": _check_neuron,
    "norm": _check_norm,
    "timesteps": _check_count,
    "dropout": _check_share,
    "feedback": _check_flag,
    "size": _check_name,
    "image_size": _check_count,
    "hidden": _check_count,
    "recurrent": _check_flag,
    "softmax": _check_flag,
    "attention_threshold": _check_positive,
    "heads": _check_count,
    "mlp_ratio": _check_positive,
    "pools": _check_pools,
    "dvs_mode": _check_flag,
    "drop_path": _check_share,
    "neuron_over": _check_name,
}
