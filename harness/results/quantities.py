"""Which measured metrics are shown, in which words and units, and what a process says of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

BASELINE: Final = "bptt_m"
"""The method that ratios refer to."""

HEADLINE: Final = ("live_peak", "step")
"""Keys of the quantities that the verdict rests on."""

MIB: Final = 2.0**-20
MILLI: Final = 1000.0

STATUS_WORDS: Final = {
    "ok": "finished",
    "oom_cuda": "out of memory (GPU)",
    "oom_host": "out of memory (host)",
    "timeout": "time-out",
    "crash": "crash",
    "invalid": "invalid",
    "skipped": "skipped",
    "missing": "not measured",
}


def last(samples: Sequence[float]) -> float:
    """The last of some samples: of an accuracy after each epoch, that of the trained model."""
    return samples[-1]


@dataclass(frozen=True)
class Quantity:
    """One thing to plot against T: `metric` in `phase` ("" for any), taken from one probe.

    `factor` turns the stored SI unit into `unit`; `reduce` makes one number of the samples of a
    process.
    """

    key: str
    label: str
    metric: str
    phase: str
    probe: str
    unit: str
    factor: float
    reduce: Callable[[Sequence[float]], float] = median


def _memory(key: str, label: str, metric: str, phase: str = "") -> Quantity:
    return Quantity(key, label, metric, phase, "memory", "MiB", MIB)


def _work(key: str, label: str, metric: str, unit: str, factor: float) -> Quantity:
    return Quantity(key, label, metric, "step", "memory", unit, factor)


def _energy(key: str, label: str) -> Quantity:
    return Quantity(f"energy_{key}", label, f"energy.{key}", "", "energy", "mJ", MILLI)


def _time(key: str, label: str) -> Quantity:
    return Quantity(key, label, f"time.{key}", "", "time", "ms", MILLI)


MEMORY: Final = (
    _memory("live_peak", "Live tensor peak of a step", "mem.live_peak", "step"),
    _memory("stored", "Stored between forward and backward", "mem.live_after_forward"),
    _memory("forward_peak", "Live tensor peak of the forward", "mem.live_peak", "forward"),
    _memory("plain_forward_peak", "Forward without graph or trace", "mem.plain_forward"),
    _memory("trace_bytes", "Forward trace", "mem.trace"),
    _memory("saved", "Saved by autograd", "mem.saved"),
    _memory("persistent", "Persistent: parameters, gradients, state, inputs", "mem.persistent"),
    _memory("cpu_requested", "CPU allocations peak", "cpu.requested_peak"),
    _memory("rss_peak", "CPU resident set peak", "cpu.rss_peak"),
    _memory("cuda_requested", "CUDA requested peak", "cuda.requested_peak"),
    _memory("cuda_allocated", "CUDA allocated peak", "cuda.allocated_peak"),
    _memory("cuda_reserved", "CUDA reserved peak", "cuda.reserved_peak"),
    _memory("nvml", "NVML process peak", "nvml.process_peak"),
    _memory("nvml_device", "NVML device growth", "nvml.device_peak"),
    _memory("context", "CUDA context and what bypasses the allocator", "cuda.context_overhead"),
    _memory("cuda_workspace", "CUDA workspaces", "cuda.workspace"),
    _memory("cpu_workspace", "CPU workspaces", "mem.workspace"),
)

ABOVE: Final = ("cpu_requested", "rss_peak")
"""Measured above what was there before the step: predicted by the live tensor peak."""

WHOLE: Final = ("cuda_requested", "cuda_allocated", "cuda_reserved", "nvml")
"""Measured as a whole: predicted by the live tensor peak and the persistent bytes together."""

TIME: Final = (
    _time("step", "Whole step"),
    Quantity("ratio_step", "Step over reference step", "ratio.step", "", "time", "×", 1.0),
    _time("forward", "Forward"),
    _time("plain_forward", "Forward without graph or trace"),
    _time("trace", "Forward trace"),
    _time("backward", "Backward"),
    _time("update", "Update"),
    _time("reference", "Reference step"),
    Quantity("ratio_backward", "Backward over reference", "ratio.backward", "", "time", "×", 1.0),
)

ENERGY: Final = (
    _energy("sample", "Energy of a sample"),
    _energy("step", "Energy of a step"),
)

WORK: Final = (
    _work("flops", "Arithmetic of a step", "ops.flops", "GFLOP", 1e-9),
    _work("elem_bytes", "Element-wise traffic of a step", "ops.elem_bytes", "MiB", MIB),
    _work("operators", "Operators of a step", "ops.count", "operators", 1.0),
)

COSTS: Final = (*MEMORY, *TIME, *ENERGY, *WORK)

GROWING: Final = ("stored", "live_peak", "trace_bytes", "step", "backward")
"""Keys of the quantities whose growth with T is fitted."""

ACCURACY: Final = Quantity(
    "accuracy", "Test accuracy", "acc.test", "", "accuracy", "%", 100.0, last
)
TRAIN_TIME: Final = Quantity(
    "train_time", "Training time", "time.train", "", "accuracy", "s", 1.0, sum
)

QUANTITIES: Final = {each.key: each for each in (*COSTS, ACCURACY, TRAIN_TIME)}
"""All of them, by key."""


def words(status: object) -> str:
    """A status in words."""
    return STATUS_WORDS.get(str(status), str(status))


def number(value: float) -> str:
    """Three significant digits without exponent, thousands kept whole: 0.0123, 4.57, 1234."""
    if not math.isfinite(value):
        return "–"
    power = math.floor(math.log10(abs(float(f"{value:.2e}")))) if value else 2
    return f"{value + 0.0:.{min(max(2 - power, 0), 8)}f}"
