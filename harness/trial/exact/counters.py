"""Exact counts of what a step computes, operator by operator, by phase.

Three figures, the same on real, fake and meta tensors:

`count`
    Operators that do something: each is about one kernel launch. Views, metadata and allocations
    that are left uninitialised are free in all three figures.
`flops`
    Floating-point operations of matrix products and convolutions, forward and backward, by the
    formulas of `torch.utils.flop_counter` (a multiply and an add are two), so that the figure is
    that of its `FlopCounterMode`. Everything else counts 0 there.
`elem_bytes`
    Bytes that element-wise operators read and write. Element-wise: every element of a result comes
    from at most one element of each argument. Those are the operators that torch tags `pointwise`
    (any overload of theirs; in place, `out=` and multi-tensor forms too), fills, copies, casts,
    random fills, `cat` and `stack`, and the backward of indexing. Every tensor argument is read
    once and every result written once, whatever its kernel does with caches; of a dimension with
    stride 0 only one element is read. In place counts as read and written; what an operator
    overwrites without looking at it (`copy_`, `zero_`, `out=`) is only written, and arguments that
    only lend their shape (`zeros_like`) are not read.

An operator of another library is refused, never counted as nothing, unless it says what it costs:
by a FLOP formula, by torch's tag `pointwise`, or by both. A kernel launched past the dispatcher
(a Triton kernel that is no registered operator) is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from harness.errors import TrialError
from harness.trial.exact.dispatch import is_composite, reentered
from harness.trial.exact.elementwise import FOREACH, NATIVE, base_name, is_elementwise, words

_MARKS: Final = "profiler"
"""Namespace of the operators that only mark a stretch of code for a profiler."""

_FREE: Final = words(
    """
    empty empty_like empty_strided empty_permuted new_empty new_empty_strided lift _unsafe_view
    resize set record_stream is_same_size is_contiguous is_non_overlapping_and_dense
    is_strides_like_format sym_is_contiguous size sym_size stride sym_stride storage_offset
    sym_storage_offset numel sym_numel dim device layout
    """
)
_OVERWRITES: Final = words("copy fill zero normal uniform random exponential")


@dataclass(slots=True)
class Cost:
    """Operators, floating-point operations, and bytes of element-wise operators."""

    count: int = 0
    flops: int = 0
    elem_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Sum of two costs."""
        return Cost(
            self.count + other.count,
            self.flops + other.flops,
            self.elem_bytes + other.elem_bytes,
        )


@dataclass(frozen=True, slots=True)
class _Counting:
    """How one operator is counted.

    `moves` says how often each argument is read or written, in the order of the schema; `results`
    the same of what the operator returns; `named` is `moves` by name.
    """

    formula: Callable[..., int] | None = None
    moves: tuple[int, ...] = ()
    named: Mapping[str, int] | None = None
    results: int = 0


class Operations(TorchDispatchMode):
    """Dispatch mode that counts operators, FLOPs and element-wise bytes by phase.

    ::

        operations = Operations()
        with operations:
            with operations.phase("forward"):
                loss = model(x).sum()
        operations.total("forward").flops, operations.total().count

    Where another mode sees every operator already, hand it `operations.observe` instead. No tensor
    is kept. With fake tensors, enter it inside the `FakeTensorMode`.
    """

    def __init__(self) -> None:
        """Start at zero."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._outside = self._now = Cost()
        self._phases: dict[str, Cost] = {}
        self._kinds: dict[Any, _Counting | None] = {}

    def total(self, phase: str | None = None) -> Cost:
        """Cost of one phase so far, or of everything, also what ran in no phase.

        Raises:
            KeyError: for a phase never entered.
        """
        parts = [self._phases[phase]] if phase else [self._outside, *self._phases.values()]
        return sum(parts, Cost())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Attribute what happens inside to the phase `name`, which may be entered many times."""
        before, self._now = self._now, self._phases.setdefault(name, Cost())
        try:
            yield
        finally:
            self._now = before

    def observe(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
    ) -> None:
        """Count one operator that just ran.

        Raises:
            TrialError: if nobody has said what the operator costs.
        """
        try:
            kind = self._kinds[func]
        except KeyError:
            kind = self._kinds[func] = _kind(func)
        if kind is None:
            return
        cost = self._now
        cost.count += 1
        if kind.formula is not None:
            cost.flops += int(kind.formula(*args, **kwargs, out_val=result))
        if kind.named is not None:
            cost.elem_bytes += _moved(kind, kind.named, args, kwargs, result)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operator and count it."""
        kwargs = kwargs or {}
        if is_composite(func):
            with reentered(self):
                return func.decompose(*args, **kwargs)
        result = func(*args, **kwargs)
        self.observe(func, args, kwargs, result)
        return result


def _kind(func: Any) -> _Counting | None:
    """How to count `func`; None if it is free."""
    if not isinstance(func, OpOverload):
        return _Counting(_declared(func, flop_registry.get(func), pointwise=False))
    base = base_name(func)
    native = func.namespace in NATIVE
    if func.is_view or func.namespace == _MARKS or (native and base in _FREE):
        return None
    formula = flop_registry.get(func._overloadpacket)
    elementwise = is_elementwise(func)
    if not native:
        _declared(func, formula, pointwise=elementwise)
    return _moves(func, base, formula) if elementwise else _Counting(formula)


def _moves(func: OpOverload, base: str, formula: Callable[..., int] | None) -> _Counting:
    name = base.removeprefix(FOREACH)
    shape_only = name.endswith("_like") or name.startswith("new_")
    moves: dict[str, int] = {}
    for each in func._schema.arguments:
        written = each.alias_info is not None and each.alias_info.is_write
        unread = shape_only or (written and (each.is_out or name in _OVERWRITES))
        moves[each.name] = int(written) + int(not unread)
    in_place = any(a.alias_info is not None for a in func._schema.arguments)
    return _Counting(formula, tuple(moves.values()), moves, results=0 if in_place else 1)


def _moved(
    kind: _Counting,
    named: Mapping[str, int],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    result: Any,
) -> int:
    total = sum(times * _nbytes(value) for times, value in zip(kind.moves, args, strict=False))
    for name, value in kwargs.items():
        total += named[name] * _nbytes(value)
    return total + kind.results * _nbytes(result)


def _nbytes(value: Any) -> int:
    """Bytes that reading or writing all of `value` touches; a stride of 0 repeats the same ones."""
    if isinstance(value, Tensor):
        strides = value.stride()
        if 0 not in strides:
            return value.nbytes
        elements = value.itemsize if value.numel() else 0
        for size, stride in zip(value.shape, strides, strict=True):
            elements *= size if stride else 1
        return elements
    if isinstance(value, (tuple, list)):
        return sum(map(_nbytes, value))
    return 0


def _declared(func: Any, formula: Any, *, pointwise: bool) -> Any:
    """The formula of an operator that is not torch's, refused if nothing is known of its cost."""
    if formula is None and not pointwise:
        raise TrialError(
            f"operation counter: nobody has said what operator {func} costs, and it must not count "
            "as nothing. Register a formula, `@torch.utils.flop_counter.register_flop_formula("
            "torch.ops.<library>.<operator>)` on a function of its argument shapes that returns "
            "FLOPs (0 if it has none); or define an element-wise operator with "
            "tags=(torch.Tag.pointwise,)"
        )
    return formula
