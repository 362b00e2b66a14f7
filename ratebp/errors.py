"""Everything that the library raises on purpose.

::

    RatebpError
    ├── OptionError        an option or a name that is not legal (also a ValueError)
    │   ├── InputError     an input that no step of any method can take
    │   └── AbsentPackageError   a package that is needed is not installed
    ├── OperandError       tensors that an operator cannot take together (also a ValueError)
    ├── UnboundError       a spiking model was called without a method
    ├── BindError          a method cannot train this model
    ├── OracleError        a network cannot be checked (also a ValueError)
    └── StaleViewError     the model changed after it was bound

Every message says what is wrong, where, what is legal, and what to do instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class RatebpError(Exception):
    """Base of every error that the library raises on purpose."""


class OptionError(RatebpError, ValueError):
    """A name or an option that is not legal."""

    @classmethod
    def unknown(
        cls, kind: str, name: object, legal: Iterable[str], remedy: str = ""
    ) -> OptionError:
        """Build the error for a *name* of *kind* that is none of the *legal* ones."""
        names = sorted(legal)
        close = get_close_matches(str(name), names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        listed = ", ".join(names) if names else "(none)"
        tail = f" {remedy}" if remedy else ""
        return cls(f"unknown {kind} {name!r}.{hint} Legal: {listed}.{tail}")


class AbsentPackageError(OptionError):
    """A package that is needed is not installed; the message has the line that installs it."""


class OperandError(RatebpError, ValueError):
    """Tensors that an operator cannot take together: their shapes, types, devices or strides."""


class UnboundError(RatebpError, RuntimeError):
    """A spiking model was called as it is, without a method that gives it dynamics."""


class InputError(OptionError):
    """An input that no step of any method can take: its shape, type or device, or its targets'."""


class BindError(RatebpError, ValueError):
    """A method cannot train this model; the message names the place and a way out."""


class OracleError(RatebpError, ValueError):
    """A network cannot be run without a method, so that nothing can be checked on it."""


class StaleViewError(RatebpError, RuntimeError):
    """The model changed after `bind`, in anything but the values of its tensors."""
