"""Which operators a step runs, in their order: what two ways to one result must differ in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ratebp.errors import OptionError
from ratebp.method import Method

_PLAIN = (bool, int, float, str, type(None), torch.dtype)


def same(first: Callable[[], object], second: Callable[[], object]) -> bool:
    """Return whether two functions run the same operators in the same order.

    Compared are the operators and the shapes, types and numbers that each is given. If they are the
    same, the two did the same arithmetic on the same shapes, and one is no evidence for the other.
    Nothing is rounded or timed, so the answer repeats exactly. That they differ is necessary, not
    sufficient: two ways may share a mistake in what they have in common.
    """
    records: list[list[Any]] = []
    for each in (first, second):
        with _Path() as path:
            each()
        records.append(path.operators)
    return records[0] == records[1]


class _Path(TorchDispatchMode):
    """Records every operator that runs inside."""

    def __init__(self) -> None:
        """Start with an empty record."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[Any] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Note the operator and run it."""
        given = [_told(x) for x in (*args, *(kwargs or {}).items())]
        self.operators.append((str(func), given))
        return func(*args, **(kwargs or {}))


def _told(x: Any) -> Any:
    if isinstance(x, Tensor):
        return tuple(x.shape), x.dtype
    if isinstance(x, list | tuple):
        return [_told(each) for each in x]
    return x if isinstance(x, _PLAIN) else type(x).__name__


@contextmanager
def no_method() -> Iterator[None]:
    """Refuse to bind a method inside: an oracle is written by hand."""

    def refuse(self: Method, *_: Any, **__: Any) -> None:
        raise OptionError(
            f"an oracle binds the method {type(self).__name__}; it must be a loop that runs none, "
            "or the identity names that method as its other"
        )

    with patch.object(Method, "bind", refuse):
        yield
