"""One network or data set that can be made: by what, with which options, from which file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ratebp.doors.files import FAULTS, told
from ratebp.doors.signature import Signature
from ratebp.errors import OptionError


@dataclass(frozen=True)
class Entry:
    """What a registry, or a place, offers under a name.

    Attributes:
        name: what sweeps call it.
        builder: makes it from options.
        source: "builtin", "entry point" or "path".
        file: that holds it.
        kind: "model" or "data set", for messages.
    """

    name: str
    builder: Callable[..., Any]
    source: str
    file: Path
    kind: str = "model"

    @classmethod
    def found(cls, name: str, builder: Any, source: str, kind: str) -> Entry:
        """What a registry has found: the file is that of the builder.

        Raises:
            OptionError: it is nothing that can be called.
        """
        if not callable(builder):
            raise OptionError(
                f"{name!r} is of type {type(builder).__name__}, which is no {kind}. Name a "
                "class or a function that returns one."
            )
        return cls(name, builder, source, _file_of(builder), kind)

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.builder) or "").partition("\n")[0]

    @cached_property
    def signature(self) -> Signature:
        """Its options, with defaults and types."""
        return Signature.of(self.builder)

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Every option that has a default value, with that."""
        options = self.signature.options.values()
        return {each.name: each.default for each in options if not each.required}

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the options, in the order of the signature."""
        return tuple(self.signature.options)

    def made(self, options: Mapping[str, Any], offered: Mapping[str, Any] | None = None) -> Any:
        """Make it.

        Args:
            options: as the user gives them.
            offered: handed over where the builder takes them and `options` has none.

        Raises:
            OptionError: an option that it does not take, one that it needs, or it fails.
        """
        known = self.signature
        for option in options:
            if option not in known.options and not known.open:
                raise OptionError.unknown(
                    f"option of {self.kind} {self.name!r},", option, known.options
                )
        given = {k: v for k, v in (offered or {}).items() if k in known.options} | dict(options)
        if absent := [n for n, each in known.options.items() if each.required and n not in given]:
            raise OptionError(
                f"{self.kind} {self.name!r} cannot be built without {', '.join(map(repr, absent))}."
                " Give it a value, or a default in the file."
            )
        try:
            return self.builder(**given)
        except FAULTS as error:
            raise OptionError(
                f"{self.kind} {self.name!r} cannot be built: {told(error, self.file.parent)}"
            ) from error


def _file_of(builder: Any) -> Path:
    made = builder.func if isinstance(builder, partial) else inspect.unwrap(builder)
    try:
        return Path(inspect.getfile(made))
    except TypeError:  # an object that can be called
        return Path(inspect.getfile(type(made)))
