"""Neurons from plain settings, as sweeps and model options write them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from ratebp.errors import OptionError
from ratebp.legal import one_of, positive
from ratebp.neurons.adaptive import ALIF, PLIF
from ratebp.neurons.base import Neuron
from ratebp.neurons.lif import LIF
from ratebp.neurons.parallel import PSN, MaskedPSN, SlidingPSN
from ratebp.neurons.threshold import TLIF
from ratebp.neurons.undecayed import UndecayedLIF

KINDS: Mapping[str, type[Neuron]] = {
    "lif": LIF,
    "plif": PLIF,
    "alif": ALIF,
    "tlif": TLIF,
    "undecayed_lif": UndecayedLIF,
    "psn": PSN,
    "masked_psn": MaskedPSN,
    "sliding_psn": SlidingPSN,
}


def make(settings: Mapping[str, Any], place: str = "a neuron's settings") -> Neuron:
    """Return a new neuron: of the "type" in `settings` ("lif" if absent), with the other settings.

    Args:
        settings: for example ``{"type": "plif", "decay": 0.5}``.
        place: where they were written, for the message.

    Raises:
        OptionError: for an unknown type, an unknown or missing setting, or a value out of range.
    """
    kind, rest = _split(settings, place)
    return KINDS[kind](**rest)


def check(settings: object, place: str = "a neuron's settings") -> None:
    """Refuse what `make` would, without drawing from any generator.

    Raises:
        OptionError: as `make` does, and for what is no mapping.
    """
    if not isinstance(settings, Mapping):
        raise OptionError(
            f"{place} is {settings!r}. Legal: a mapping such as {{'decay': 0.5}}, with 'type' out "
            f"of {', '.join(KINDS)} ('lif' if absent) and settings of that neuron; those of lif "
            f"are {', '.join(inspect.signature(LIF).parameters)}."
        )
    with torch.device("meta"):
        make(settings, place)


def threshold(settings: Mapping[str, Any], place: str = "a neuron's settings") -> float:
    """Return the threshold that a neuron of `settings` starts with.

    Raises:
        OptionError: as `make` does.
    """
    kind, rest = _split(settings, place)
    default = inspect.signature(KINDS[kind]).parameters["threshold"].default
    return positive("threshold", rest.get("threshold", default))


def _split(settings: Mapping[str, Any], place: str) -> tuple[str, dict[str, Any]]:
    rest = dict(settings)
    kind = one_of(f"type of neuron in {place}:", rest.pop("type", "lif"), KINDS)
    takes = inspect.signature(KINDS[kind]).parameters
    for name in rest:
        if name not in takes:
            raise OptionError.unknown(f"setting in {place}:", name, takes)
    missing = [n for n, p in takes.items() if p.default is p.empty and n not in rest]
    if missing:
        raise OptionError(f"{place}: a {kind} needs {', '.join(missing)}.")
    return kind, rest
