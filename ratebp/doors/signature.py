"""The options of a class or function, read off its signature."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import nn

_NAMES: Mapping[type, str] = {bool: "bool", int: "int", float: "float", str: "str"}


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: as it is written.
        default: its value where nobody gives one.
        required: whether it has no default.
        types: the kinds of values that it takes, of "bool", "int", "float", "str" and "table";
            empty if nothing is known.
        choices: the legal values, if they are a list.
    """

    name: str
    default: Any
    required: bool
    types: tuple[str, ...]
    choices: tuple[Any, ...] | None

    def described(self) -> dict[str, Any]:
        """Return it as plain values; a default that is none is told by its words."""
        plain = self.default is None or isinstance(self.default, str | bool | int | float)
        return {
            "default": self.default if plain else repr(self.default),
            "required": self.required,
            "choices": None if self.choices is None else list(self.choices),
            "type": " or ".join(self.types),
        }


@dataclass(frozen=True)
class Signature:
    """All options, and whether it takes others (`**kwargs`)."""

    options: Mapping[str, Option]
    open: bool = False

    @classmethod
    def of(cls, made: Callable[..., Any]) -> Signature:
        """Read it; an object that needs no call, or whose signature is not known, has none."""
        if isinstance(made, nn.Module) or _bare(made):
            return cls({})
        try:
            parameters = inspect.signature(made).parameters.values()
        except (ValueError, TypeError):
            return cls({}, open=True)
        hints = _hints(made)
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        return cls(
            {p.name: _option(p, hints.get(p.name)) for p in named},
            any(p.kind is p.VAR_KEYWORD for p in parameters),
        )

    def described(self) -> dict[str, Any]:
        """Return the options as plain values."""
        return {name: option.described() for name, option in self.options.items()}


def _bare(made: Any) -> bool:
    """Is it a class of modules whose only constructor is torch's, which takes nothing?"""
    return inspect.isclass(made) and made.__init__ is nn.Module.__init__


def _hints(made: Any) -> dict[str, Any]:
    try:
        return get_type_hints(made.__init__ if inspect.isclass(made) else made)
    except Exception:  # names that exist for type checkers alone
        return {}


def _option(parameter: inspect.Parameter, hint: Any) -> Option:
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    types_, choices = _kinds(hint) if hint is not None else (_of_default(default), None)
    return Option(parameter.name, default, required, types_, choices)


def _of_default(default: Any) -> tuple[str, ...]:
    name = _NAMES.get(type(default))
    return ("int", "float") if name == "int" else (name,) if name else ()


def _kinds(hint: Any) -> tuple[tuple[str, ...], tuple[Any, ...] | None]:
    """Return the kinds of values of an annotation, and the values if it lists them."""
    if hint in _NAMES:
        return (_NAMES[hint],), None
    origin = get_origin(hint)
    if origin is Literal:
        return (), get_args(hint)
    if origin in (Union, types.UnionType):
        parts = [_kinds(each) for each in get_args(hint) if each is not type(None)]
        lists = [choices for _, choices in parts if choices is not None]
        if len(parts) == 1:
            return parts[0]
        known = all(names for names, _ in parts) and not lists
        return (tuple(name for names, _ in parts for name in names) if known else ()), None
    cls = origin or hint
    table = inspect.isclass(cls) and issubclass(cls, Mapping)
    return (("table",) if table else ()), None
