"""Settings that must be numbers, flags or names: what is neither is refused, never converted.

``bool("false")`` is true and ``float("nan") < 0`` is false, so that a setting of a wrong type would
silently mean something else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import Field
from typing import Any

from ratebp.errors import OptionError


def is_number(value: object) -> bool:
    """Is `value` a finite int or float, and no bool?"""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)  # type: ignore[arg-type]


def number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
    note: str = "",
) -> float:
    """Return `value` if it is a number in the range.

    Args:
        name: of the setting, for the message.
        value: what was given.
        low: the least legal number.
        high: the largest legal number.
        open_low: whether `low` itself is illegal.
        open_high: whether `high` itself is illegal.
        note: what the number means, for the message.

    Raises:
        OptionError: for anything else: a text, a bool, a tensor, NaN, an infinity.
    """
    if is_number(value):
        above = value > low if open_low else value >= low
        if above and (value < high if open_high else value <= high):
            return value  # type: ignore[no-any-return]
    raise OptionError(f"{name}={value!r} must be {_range(low, high, open_low, open_high)}{note}.")


def positive(name: str, value: Any, note: str = "") -> float:
    """Return `value` if it is a positive finite number.

    Raises:
        OptionError: for anything else.
    """
    return number(name, value, 0, open_low=True, note=note)


def _range(low: float, high: float, open_low: bool, open_high: bool) -> str:
    if low == 0 and open_low and high == math.inf:
        return "a positive number"
    if high == math.inf:
        bound = "above" if open_low else "of at least"
        return "a finite number" if low == -math.inf else f"a number {bound} {low}"
    return f"a number in {'(' if open_low else '['}{low}, {high}{')' if open_high else ']'}"


def flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False.

    Raises:
        OptionError: for anything else: a text such as "false" would count as True.
    """
    if not isinstance(value, bool):
        raise OptionError(f"{name}={value!r} must be True or False (in a sweep: true or false).")
    return value


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return `value` if it is an int of at least `least`.

    Raises:
        OptionError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name}={value!r} must be an integer of at least {least}.")
    return value


def one_of(kind: str, value: Any, legal: Iterable[str]) -> str:
    """Return `value` if it is one of the names in `legal`.

    Raises:
        OptionError: for anything else, what is no text included.
    """
    if not isinstance(value, str) or value not in legal:
        raise OptionError.unknown(kind, value, legal)
    return value


def option(name: str, value: Any, field: Field[Any]) -> None:
    """Refuse a `value` that an option of a method does not allow.

    Args:
        name: of the option, for the message.
        value: what was given.
        field: of the method's dataclass, made by `ratebp.option` or `ratebp.count`; of any other,
            the type of its default decides: a bool, an int or a float.

    Raises:
        OptionError: when it is not legal.
    """
    choices, least = field.metadata.get("choices"), field.metadata.get("at_least")
    if choices is not None:
        one_of(name, value, choices)
    elif least is not None:
        whole(name, value, least)
    elif isinstance(field.default, bool):
        flag(name, value)
    elif isinstance(field.default, int) and (isinstance(value, bool) or not isinstance(value, int)):
        raise OptionError(f"{name}={value!r} must be an integer.")
    elif isinstance(field.default, float):
        number(name, value)
