"""Options of one entry of a grid, and whether they are legal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from harness.sweep.catalogue import OptionInfo

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "table": (dict,),
}


def products(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the values of options, which may be lists."""
    axes = [
        [(key, value) for value in (values if isinstance(values, list) else [values])]
        for key, values in options.items()
    ]
    return map(dict, itertools.product(*axes))


def scalar(value: Any) -> bool:
    """Whether a value is text or a finite number."""
    return isinstance(value, (str, bool, int)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def legal(info: OptionInfo, value: Any) -> str | None:
    """The legal values in words if `value` is not one of them, else None."""
    if info.choices is not None:
        return None if value in info.choices else ", ".join(map(repr, info.choices))
    kinds = [_TYPES[kind] for kind in info.type.split(" or ") if kind in _TYPES]
    expected = tuple(each for kind in kinds for each in kind)
    leaves = _leaves(value)
    if not all(map(scalar, leaves)):
        return "text, a finite number, true or false" + (", or a table of such" if kinds else "")
    fits = isinstance(value, expected) if expected else True
    if isinstance(value, bool) and expected and bool not in expected:
        fits = False
    if fits:
        return None
    default = "" if info.required else f" (default {info.default!r})"
    return f"a value of type {info.type}{default}"


def _leaves(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return [value]
    return [leaf for each in value.values() for leaf in _leaves(each)]
