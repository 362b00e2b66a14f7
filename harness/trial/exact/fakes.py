"""Fake tensors for a whole training step, at less cost an operator than torch's own.

A third of what a step dispatches writes into a tensor that is there already: `add_`, `copy_`,
`out=`. Torch works out anew each time that nothing about that tensor changes, and for `out=` it
does so without its cache. This mode remembers the result instead.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from harness.trial.exact.elementwise import is_elementwise


class Fakes(FakeTensorMode):
    """A `FakeTensorMode` that remembers which element-wise operators changed no shape.

    An operator is remembered with the shape and type of every tensor and the type of every other
    argument, after torch itself has run it: what torch refuses is refused here.
    """

    def __init__(self) -> None:
        """Remember nothing yet; constants of the user's code may be real, they are made fake."""
        super().__init__(allow_non_fake_inputs=True)
        self._harmless: set[Hashable] = set()

    def dispatch(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        """Run one operator on fake tensors."""
        kwargs = kwargs or {}
        target = _written(func)
        out = None
        if target is not None:
            out = kwargs[target] if isinstance(target, str) else args[target]
        if not isinstance(out, FakeTensor) or out.constant is not None:
            return super().dispatch(func, types, args, kwargs)
        key = (func, *map(_shape, args), *kwargs, *map(_shape, kwargs.values()))
        if key in self._harmless:
            return out
        before = _shape(out)
        result = super().dispatch(func, types, args, kwargs)
        if result is out and _shape(out) == before:
            self._harmless.add(key)
        return result


@cache
def _written(func: Any) -> str | int | None:
    """Place of the one tensor that an element-wise operator writes into and returns, or its name.

    None if there is no such tensor.
    """
    if not isinstance(func, OpOverload) or not is_elementwise(func):
        return None
    schema = func._schema
    written = [each for each in enumerate(schema.arguments) if _writes(each[1])]
    if len(written) != 1 or len(schema.returns) != 1 or not _writes(schema.returns[0]):
        return None
    ((place, argument),) = written
    return str(argument.name) if argument.kwarg_only else place


def _writes(value: Any) -> bool:
    return value.alias_info is not None and bool(value.alias_info.is_write)


def _shape(value: object) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.device
    if isinstance(value, (tuple, list)):
        return tuple(map(_shape, value))
    return type(value)
