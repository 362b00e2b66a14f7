"""What the parent reads of a trial on a GPU: memory by the driver, other programs, clocks.

The parent reads, so that the trial's own process stays as it is: before the trial, at the
handshake (the trial's memory is at its peak and its context lives), and after. While a memory
trial runs, a thread looks ten times a second; nothing looks while a timing runs.

The driver may know a process by another id than we do (containers). A device that was idle before
and holds one process at the handshake holds the trial; more than one means company.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import psutil

from harness.machine import gpu
from harness.outcome import Outcome
from harness.run.executors.gpu_memory import figures
from harness.spec import TrialSpec

IDLE_WAIT_S: Final = 10.0
"""How long a device may take to become idle before a trial on it is refused."""

_PAUSE_S: Final = 0.25
_SAMPLE_S: Final = 0.1
_BAND: Final = 0.02
_SPOILED: Final = ("ok", "oom_cuda")
"""Ends that another program on the device may have changed without our noticing."""

_CLOCKED: Final = ("time", "energy")
_SAMPLED: Final = ("memory",)


class DeviceWatch:
    """Reads one device around one trial.

    Attributes:
        uuid: the device's, or None where it is unknown.
        foreign: processes of others by id: when each was seen first.
        unlocked: why nothing keeps other runs off the device, or None.
    """

    def __init__(self, device: gpu.Device | gpu.Absent, probe: str) -> None:
        """`device` may be absent: the trial then runs unwatched, and says so."""
        self.uuid = None if isinstance(device, gpu.Absent) else device.uuid or None
        self.foreign: dict[int, str] = {}
        self.unlocked: gpu.Absent | None = None
        self._device = device
        self._probe = probe
        # Ids by which the driver knows the trial's processes; `_alias` if they are not ours.
        self._own: frozenset[int] = frozenset()
        self._alias = False
        self._before: gpu.Usage | None = None
        self._now: gpu.Usage | None = None
        self._states: dict[str, gpu.State] = {}
        self._sampler: _Sampler | None = None

    def begin(self, pause: Callable[[float], object]) -> None:
        """Wait until the device is idle, for `IDLE_WAIT_S` at most; then read it.

        `foreign` then holds what still computes there.
        """
        if isinstance(self._device, gpu.Absent):
            return
        self._before = gpu.usage(self._device)
        waited = 0.0
        while self._before.pids and waited < IDLE_WAIT_S:
            pause(_PAUSE_S)
            waited += _PAUSE_S
            self._before = gpu.usage(self._device)
        self._states["gpu_before"] = gpu.state(self._device)
        self._note(self._before.pids, "before the trial")

    def started(self, pid: int) -> None:
        """The trial runs as process `pid`."""
        self._own = frozenset({pid})
        if self._probe in _SAMPLED and not isinstance(self._device, gpu.Absent):
            self._sampler = _Sampler(self._device)
            self._sampler.start()

    def measured(self, pid: int) -> None:
        """Read the device at the handshake, while the trial waits."""
        if isinstance(self._device, gpu.Absent):
            return
        self._now = gpu.usage(self._device)
        self._states["gpu_after"] = gpu.state(self._device)
        self.close()
        tree = _tree(pid)
        alone = len(self._now.pids) == 1 and not self._now.pids & tree
        self._own = self._now.pids if alone else tree
        self._alias = alone

    def ended(self) -> None:
        """Read the device once more, after the trial's end."""
        self.close()
        if isinstance(self._device, gpu.Absent):
            return
        if self._now is not None:
            self._note(self._now.pids - self._own, "during the trial")
        if self._sampler is not None:
            self._note(self._sampler.pids - self._own, "during the trial")
        self._states.setdefault("gpu_after", gpu.state(self._device))
        self._note(gpu.usage(self._device).pids - self._own, "after the trial")

    def judge(self, outcome: Outcome) -> Outcome:
        """The outcome with what the driver says; invalid if the trial had company."""
        facts = dict(outcome.facts) | self._facts()
        if isinstance(self._device, gpu.Absent):
            return replace(outcome, facts=facts | {"nvml": f"absent: {self._device.reason}"})
        if self.foreign and outcome.status in _SPOILED:
            return replace(outcome, status="invalid", error=self.company, rows=(), facts=facts)
        if outcome.status != "ok" or self._now is None or self._probe != "memory":
            return replace(outcome, facts=facts)
        rows, how = figures(self._before, self._now, self._own, outcome.rows)
        facts |= {"nvml": how} | self._sampled()
        return replace(outcome, rows=outcome.rows + rows, facts=facts)

    def close(self) -> None:
        """Leave the device alone, however the trial ended."""
        if self._sampler is not None:
            self._sampler.stop()

    @property
    def company(self) -> str:
        """What to tell the user about `foreign`."""
        who = ", ".join(
            f"process {pid} ({_name(pid)}), seen {when}" for pid, when in self.foreign.items()
        )
        return (
            f"another program computes on the GPU: {who}; its load and memory are in every figure. "
            "End it, or choose another GPU by its UUID in CUDA_VISIBLE_DEVICES (nvidia-smi -L)"
        )

    def _note(self, pids: frozenset[int], when: str) -> None:
        for pid in sorted(pids):
            self.foreign.setdefault(pid, when)

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {name: state.to_json() for name, state in self._states.items()}
        if self.uuid is not None:
            facts["gpu"] = self.uuid
        if self.unlocked is not None:
            facts["gpu_lock"] = f"absent: {self.unlocked.reason}"
        if self._alias:
            facts["driver_pids"] = f"{sorted(self._own)}: the only process on the device"
        if self.foreign:
            facts["foreign"] = [
                {"pid": pid, "name": _name(pid), "seen": when} for pid, when in self.foreign.items()
            ]
        for usage in (self._before, self._now):
            if usage is not None and isinstance(usage.processes, gpu.Absent):
                facts["company"] = f"unknown: {usage.processes.reason}"
        return facts | (self._clock_facts() if self._probe in _CLOCKED else {})

    def _clock_facts(self) -> dict[str, Any]:
        """What makes a timing or an energy suspect."""
        before, after = self._states.get("gpu_before"), self._states.get("gpu_after")
        facts: dict[str, Any] = {}
        if before is not None and after is not None:
            if reasons := after.throttled(before):
                facts["throttled"] = reasons
            if after.slow:
                facts["slow_clock"] = f"{after.sm_mhz} of {after.sm_default_mhz} MHz by default"
        return facts

    def _sampled(self) -> dict[str, Any]:
        """The highest of all samples beside the reading at the handshake."""
        if self._sampler is None or self._now is None:
            return {}
        peak, read = self._sampler.peak(self._own), self._now.of(self._own)
        if peak is None or isinstance(read, gpu.Absent):
            return {}
        facts: dict[str, Any] = {"nvml_sampled": {"peak": peak, "samples": self._sampler.count}}
        if abs(peak - read) > _BAND * read:
            facts["nvml_disagrees"] = (
                f"{peak} B was the highest seen while the trial ran, warm-up included, and {read} "
                f"B at its end: more than {_BAND:.0%} apart"
            )
        return facts


@contextlib.contextmanager
def watching(
    spec: TrialSpec, pause: Callable[[float], object], notice: Callable[[str], object]
) -> Iterator[DeviceWatch]:
    """Open the trial's device and keep other runs away from it.

    While another run's trial is at work there, `notice` is told once, and `pause` sleeps for some
    seconds at a time, and may raise.
    """
    with gpu.device() as device:
        watch = DeviceWatch(device, spec.probe)
        queue = _queue(pause, notice)
        with gpu.exclusive(watch.uuid or "gpu", lambda: next(queue)) as unlocked:
            watch.unlocked = unlocked
            try:
                yield watch
            finally:
                watch.close()


def _queue(pause: Callable[[float], object], notice: Callable[[str], object]) -> Iterator[None]:
    notice("another run measures on this GPU; waiting for its trial to end")
    while True:
        pause(_PAUSE_S)
        yield


class _Sampler(threading.Thread):
    """Looks at a device now and then, and keeps the highest figure of each process."""

    def __init__(self, device: gpu.Device) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self._device = device
        self._over = threading.Event()
        self._highest: dict[int, int] = {}
        self._pids: set[int] = set()

    @property
    def pids(self) -> frozenset[int]:
        """Every process that was seen."""
        return frozenset(self._pids)

    def run(self) -> None:
        while not self._over.wait(_SAMPLE_S):
            usage = gpu.usage(self._device)
            self.count += 1
            self._pids |= usage.pids
            known: Mapping[int, int | None] = (
                {} if isinstance(usage.processes, gpu.Absent) else usage.processes
            )
            for pid, size in known.items():
                self._highest[pid] = max(self._highest.get(pid, 0), size or 0)

    def stop(self) -> None:
        self._over.set()
        self.join()

    def peak(self, pids: frozenset[int]) -> int | None:
        """Sum of the highest figures of some processes; None if none was seen."""
        return sum(self._highest.get(pid, 0) for pid in pids) or None


def _tree(pid: int) -> frozenset[int]:
    with contextlib.suppress(psutil.Error):
        return frozenset(
            {pid} | {child.pid for child in psutil.Process(pid).children(recursive=True)}
        )
    return frozenset({pid})


def _name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "not of this container, or ended"
