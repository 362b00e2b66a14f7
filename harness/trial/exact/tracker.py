"""Exact count of the tensor bytes that are alive, operator by operator.

`LiveBytes` watches every operator that torch dispatches. It adds the bytes of each new storage when
an operator returns it and subtracts them in a finaliser when the storage dies; nothing else is
counted, so the figure does not depend on an allocator, on other processes or on the device: real,
fake and meta tensors give the same number.

What is counted: storages, once each, however many views and expansions of them there are, on all
devices together. Bytes are those *above* what was alive when the tracker was entered.

What is not counted: workspaces inside an operator (a convolution's scratch buffer, the interior of
a custom operator), and memory that never passes the dispatcher (CuPy, a saved RNG state).
A hidden workspace shows up as the difference to an allocator's peak, which the probe `memory`
records as `mem.workspace` on a CPU and `cuda.workspace` on a GPU. A Triton kernel that the step
launches itself writes into tensors that torch made, so its bytes are counted.
Code under `torch.compile` falls back to eager while any dispatch mode is on, which would count a
program that nobody runs: the tracker refuses it. So does it refuse an operator whose input came
from outside the dispatcher.

Backward: on a CPU it runs in the calling thread. On a GPU autograd's own threads inherit the
dispatch mode of the thread that called backward, and the caller waits for them.
"""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from harness.errors import TrialError
from harness.trial.exact.dispatch import (
    REMEDY,
    is_composite,
    reentered,
    storage_of,
    storage_or_none,
    tensors,
)

Observer = Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]
"""Called with each operator after it ran: `observer(operator, args, kwargs, result)`."""

_LIFT = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift.default)
_ADD = torch.ops.aten.add.Tensor
_WHERE = torch.ops.prim.device.default  # half of what is dispatched for fake tensors
_WRAPPERS = ("torch._dynamo", "torch._compile")  # torch wraps every __torch_dispatch__ in these


@dataclass(slots=True, eq=False)
class _Storage:
    """One storage, seen through a weak reference so that the tracker keeps nothing alive."""

    ref: weakref.ref[torch.UntypedStorage]
    nbytes: int
    ambient: bool = False  # there before the tracker, not declared, not used so far


@dataclass(slots=True)
class _Pending:
    """A sample that counts only if neither operand of the addition dies with it."""

    live: int
    phase: str | None
    operands: list[tuple[int, _Storage]]


class LiveBytes(TorchDispatchMode):
    """Dispatch mode that follows the bytes of live storages and their peak, by phase.

    ::

        tracker = LiveBytes(persistent=[*model.parameters(), *model.buffers(), x, y])
        with tracker:
            with tracker.phase("forward"):
                loss = model(x).sum()
            with tracker.phase("backward"):
                loss.backward()
        tracker.peak("forward"), tracker.at_entry("backward"), tracker.peak()

    Run a warm-up step with an optimiser update first and declare gradients and optimiser state as
    persistent: they are created by the first step and stay. Automatic garbage collection is off
    while the tracker is on, so that reference cycles are counted the same in every process. With
    fake tensors, enter the tracker inside the `FakeTensorMode`.

    Args:
        persistent: tensors that exist before and after the step: parameters, buffers, gradients,
            optimiser state, inputs, labels. Only their storages are remembered, and only weakly.
        observer: shown every operator, so that what it counts costs no second dispatch mode.

    Attributes:
        live: int: bytes alive now, above those alive at entry. Negative when persistent tensors
            were freed.
        persistent: int: bytes of the declared storages, and of undeclared ones that were there at
            entry and were used or freed while the tracker was on (state that a method keeps across
            steps).
    """

    def __init__(self, persistent: Iterable[Tensor] = (), observer: Observer | None = None) -> None:
        """Remember the storages of the `persistent` tensors."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.persistent = 0
        self._observer = observer
        self._on = False
        self._phase: str | None = None
        self._peaks: dict[str | None, int] = {None: 0}
        self._entry: dict[str, int] = {}
        self._storages: dict[int, _Storage] = {}
        self._pending: _Pending | None = None
        self._restore = ExitStack()
        for tensor in persistent:
            self.persistent += self._add(storage_of(tensor))

    def peak(self, phase: str | None = None) -> int:
        """Highest `live` so far, in one phase or overall; KeyError for a phase never entered."""
        return self._peaks[phase]

    def at_entry(self, phase: str) -> int:
        """Highest `live` at any entry of `phase`; KeyError for a phase never entered."""
        return self._entry[phase]

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Attribute what happens inside to the phase `name`, which may be entered many times."""
        self._settle()
        previous, self._phase = self._phase, name
        self._entry[name] = max(self._entry.get(name, self.live), self.live)
        self._sample(self.live, name)
        try:
            yield
        finally:
            self._settle()
            self._phase = previous

    def __enter__(self) -> LiveBytes:
        """Collect garbage, note every storage that is already there, and start to count."""
        gc.collect()
        for thing in gc.get_objects():
            if issubclass(type(thing), Tensor) and (storage := storage_or_none(thing)) is not None:
                self._add(storage, ambient=True)
        if gc.isenabled():
            gc.disable()
            self._restore.callback(gc.enable)
        self._restore.enter_context(_watched_resize(self))
        self._restore.enter_context(_no_compiled_code())
        self._on = True
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        """Stop counting; the figures stay."""
        super().__exit__(*exception)  # type: ignore[no-untyped-call]
        self._settle()
        self._on = False
        self._restore.__exit__(*exception)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operator and count the storages of its results."""
        if func is _WHERE:
            return func(*args)
        kwargs = kwargs or {}
        if is_composite(func):
            with reentered(self):
                return func.decompose(*args, **kwargs)
        if func not in _LIFT:  # the operator that announces tensors made from Python data
            for tensor in tensors(args, kwargs):
                self._check_input(func, tensor)
        result = func(*args, **kwargs)
        self._settle()
        for tensor in tensors(result):
            self.live += self._add(storage_of(tensor))
        if func is _ADD and _called_by_autograd():
            operands = [storage_of(tensor) for tensor in tensors(args)]
            self._defer(operands, storage_of(result).nbytes())
        else:
            self._sample(self.live, self._phase)
        if self._observer is not None:
            self._observer(func, args, kwargs, result)
        return result

    def _add(self, storage: torch.UntypedStorage, *, ambient: bool = False) -> int:
        """Follow `storage` and return by how many bytes the known total grew."""
        key = id(storage)  # unique while the storage lives; the finaliser removes it
        known = self._storages.get(key)
        if known is not None:
            grown = storage.nbytes() - known.nbytes  # resized in place
            known.nbytes += grown
            return grown
        ref = weakref.ref(storage, partial(self._freed, key))
        self._storages[key] = _Storage(ref, storage.nbytes(), ambient)
        return storage.nbytes()

    def _freed(self, key: int, _: weakref.ref[torch.UntypedStorage]) -> None:
        """Finaliser: the storage under `key` died."""
        known = self._storages.pop(key)
        if self._on:
            self.live -= known.nbytes
            self.persistent += known.nbytes if known.ambient else 0

    def _check_input(self, func: Any, tensor: Tensor) -> None:
        known = self._storages.get(id(storage_of(tensor)))
        if known is None and tensor.is_meta:  # made from Python data, unannounced
            self.live += self._add(storage_of(tensor))
            return
        if known is None:
            raise TrialError(
                f"live-bytes tracker: {func} received a tensor of shape {tuple(tensor.shape)} that "
                f"no dispatched operator made, so its bytes cannot be counted. {REMEDY}"
            )
        if known.ambient:
            known.ambient = False
            self.persistent += known.nbytes

    def _sample(self, live: int, phase: str | None) -> None:
        self._peaks[None] = max(self._peaks[None], live)
        self._peaks[phase] = max(self._peaks.get(phase, live), live)

    def _defer(self, operands: list[torch.UntypedStorage], nbytes: int) -> None:
        """Hold back the sample of an addition that autograd would do in place without the tracker.

        Where a tensor was used twice, autograd adds its two gradients in place if it alone owns one
        of them, but never while a dispatch mode is on. An operand that it owned dies at once.
        """
        keys = [(id(storage), self._storages[id(storage)]) for storage in operands]
        dense = [(key, known) for key, known in keys if known.nbytes == nbytes]
        self._pending = _Pending(self.live, self._phase, dense)

    def _settle(self) -> None:
        """Count the sample held back, unless one of its operands has died since."""
        pending, self._pending = self._pending, None
        if pending and all(self._storages.get(key) is known for key, known in pending.operands):
            self._sample(pending.live, pending.phase)


def _called_by_autograd() -> bool:
    """Is autograd itself (no Python function of a backward) running the current operator?"""
    if torch._C._current_graph_task_id() == -1 or torch.is_grad_enabled():
        return False
    frame = sys._getframe(1).f_back  # the caller of __torch_dispatch__
    while frame is not None and frame.f_globals["__name__"].startswith(_WRAPPERS):
        frame = frame.f_back
    return frame is None or frame.f_code.co_name == "_engine_run_backward"  # None: its own thread


@contextmanager
def _watched_resize(tracker: LiveBytes) -> Iterator[None]:
    """Storages can be resized in place without any operator: see that as well."""
    resize = torch.UntypedStorage.resize_

    def resize_(storage: torch.UntypedStorage, size: int) -> Any:
        result = resize(storage, size)
        tracker._settle()
        tracker.live += tracker._add(storage)
        tracker._sample(tracker.live, tracker._phase)
        return result

    torch.UntypedStorage.resize_ = resize_  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign]


@contextmanager
def _no_compiled_code() -> Iterator[None]:
    try:
        with torch.compiler.set_stance("fail_on_recompile"):
            yield
    except RuntimeError as error:
        if "fail_on_recompile" not in str(error):
            raise
        raise TrialError(
            "live-bytes tracker: the step calls code under torch.compile, which runs eagerly while "
            f"operators are watched: the count would be another program's. {REMEDY}"
        ) from error
