"""A made-up sweep with known figures, written to disk as the runner would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.report.estimates import Group, groups
from harness.report.quantities import MEMORY, TIME
from harness.rows import MEASUREMENT_VERSION, SCHEMA_VERSION
from harness.spec import Cell, Choice, Training, digest
from harness.store import load

MIB = 2**20
MACHINE = "0123456789ab"
STEPS = (1, 2, 4, 8, 16)
TRAIN_T = 4
BUDGET = Training(epochs=2)
# method: family, MiB at T=1, MiB per further step, ms of forward, trace, backward per step
METHODS: dict[str, tuple[str, int, int, float, float, float]] = {
    "bptt_m": ("exact", 4, 4, 4.0, 1.0, 8.0),
    "bptt_s": ("exact", 5, 5, 5.0, 1.5, 9.5),
    "rate_m": ("rate", 4, 0, 4.0, 1.2, 0.5),
    "rate_s": ("rate", 3, 0, 5.0, 1.5, 0.6),
    "sltt": ("online", 2, 0, 5.0, -0.02, 6.0),
    "ottt_a": ("online", 3, 0, 5.0, 2.0, 6.5),
}
ACCURACY = {"bptt_m": 84.0, "bptt_s": 83.0, "rate_m": 82.5, "rate_s": 81.0, "sltt": 80.0}
LOST = {("bptt_s", 16, "memory"): "oom_cuda", ("bptt_s", 16, "time"): "timeout"}
UPDATE_MS = 1.0
PERSISTENT_MIB = 10
WORKSPACE_MIB = 1
QUANTITIES = {quantity.key: quantity for quantity in (*MEMORY, *TIME)}


def memory_mib(method: str, T: int) -> int:
    """Live peak of a step."""
    _, first, more, *_ = METHODS[method]
    return first + more * (T - 1)


def step_ms(method: str, T: int) -> float:
    """Time of a step without noise."""
    _, _, _, forward, trace, backward = METHODS[method]
    return (forward + trace + backward) * T + UPDATE_MS


def write(
    folder: Path, *, repeats: int = 3, extra: str = "", batches: tuple[int, ...] = (32,)
) -> None:
    """Write a sweep of six methods (and `extra`, an unknown one) into `folder`."""
    _write(folder / "environments" / f"{MACHINE}.json", ENVIRONMENT)
    methods = [*METHODS, extra] if extra else list(METHODS)
    for batch in batches:
        for order, record in enumerate(_records(methods, repeats, batch)):
            _write(folder / "trials" / f"{record['trial']}.json", {**record, "order": order})


def _write(path: Path, plain: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain), encoding="utf-8")


def group(folder: Path, **options: Any) -> Group:
    """The only group of a sweep written by `write`."""
    write(folder, **options)
    tables = load(folder)
    (found,) = groups(tables.trials, tables.measurements)
    return found


ENVIRONMENT: dict[str, Any] = {
    "os": "Debian GNU/Linux 12",
    "cpu": "AMD EPYC 7B13",
    "cores": 2,
    "memory_gib": 24,
    "python": "CPython 3.11.7",
    "packages": {"torch": "2.13.0", "triton": None},
    "torch_build": "cpu",
    "gpus": {"names": [], "absent": "driver library not found"},
}


def _records(methods: list[str], repeats: int, batch: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    for repeat in range(repeats):
        for T in STEPS:
            for method in methods:
                for probe in ("time", "memory"):
                    yield _record(method, T, probe, repeat, batch, rng)
    for seed in range(2):
        for method in methods:
            yield _record(method, TRAIN_T, "accuracy", 0, batch, rng, seed)


def _record(
    method: str, T: int, probe: str, repeat: int, batch: int, rng: Any, seed: int = 0
) -> dict[str, Any]:
    training = BUDGET if probe == "accuracy" else None
    cell = Cell(
        Choice(method),
        Choice("tiny_resnet"),
        "fashion-mini",
        T,
        batch,
        seed=seed,
        training=training,
    )
    lost = LOST.get((method, T, probe), "ok")
    if probe == "accuracy" and method == "ottt_a":
        lost = "crash"
    known = method if method in METHODS else "rate_m"
    rows = {"time": _time, "memory": _memory, "accuracy": _accuracy}[probe](known, T, seed, rng)
    return {
        "schema": SCHEMA_VERSION, "measurement": MEASUREMENT_VERSION, "sweep": "sample",
        "trial": digest([cell.to_json(), probe, repeat])[:16],
        "cell": cell.to_json(), "probe": probe, "repeat": repeat, "status": lost,
        "error": None if lost == "ok" else "RuntimeError: <made up>", "attempts": 1,
        "environment": MACHINE, "family": METHODS.get(method, ("novel",))[0],
        "memory_class": "constant", "code": {"digest": "c0de", "commit": "f" * 40, "dirty": False},
        "started": "2026-01-02T03:04:05+00:00", "seconds": 1.5,
        "facts": {"threads": 1, "malloc": {"MALLOC_MMAP_MAX_": "0"}, "nvml": "absent: no driver"},
        "rows": rows if lost == "ok" else [],
    }  # fmt: skip


def _row(metric: str, phase: str, unit: str, kind: str, values: list[float]) -> dict[str, Any]:
    return {"metric": metric, "phase": phase, "unit": unit, "kind": kind, "values": values}


def _time(method: str, T: int, seed: int, rng: Any) -> list[dict[str, Any]]:
    _, _, _, forward, trace, backward = METHODS[method]
    parts = {
        "forward": (forward + trace) * T, "plain_forward": forward * T, "trace": trace * T,
        "backward": backward * T, "update": UPDATE_MS, "step": step_ms(method, T),
    }  # fmt: skip
    luck = np.exp(rng.normal(0, 0.04))
    noise = luck * np.exp(rng.normal(0, 0.02, size=5))
    ratios = {"step": step_ms(method, T) / step_ms("bptt_m", T), "backward": backward / 8.0}
    return [
        *(
            _row(f"time.{key}", key, "s", "noisy", [float(ms / 1000 * n) for n in noise])
            for key, ms in parts.items()
        ),
        *(
            _row(f"ratio.{key}", key, "1", "noisy", [float(ratio * n / luck) for n in noise])
            for key, ratio in ratios.items()
        ),
    ]


def _memory(method: str, T: int, seed: int, rng: Any) -> list[dict[str, Any]]:
    peak = memory_mib(method, T) * MIB
    return [
        _row("mem.live_peak", "step", "B", "exact", [peak]),
        _row("mem.live_peak", "forward", "B", "exact", [peak * 3 // 4]),
        _row("mem.live_after_forward", "forward", "B", "exact", [peak // 2]),
        _row("mem.plain_forward", "forward", "B", "exact", [MIB]),
        _row("mem.trace", "forward", "B", "exact", [peak * 3 // 4 - MIB]),
        _row("mem.saved", "forward", "B", "exact", [peak // 2]),
        _row("mem.persistent", "step", "B", "exact", [PERSISTENT_MIB * MIB]),
        _row("cpu.requested_peak", "step", "B", "banded", [float(peak + WORKSPACE_MIB * MIB)]),
        _row("cpu.rss_peak", "step", "B", "banded", [float(peak + 30 * MIB + rng.integers(MIB))]),
    ]


def _accuracy(method: str, T: int, seed: int, rng: Any) -> list[dict[str, Any]]:
    percent = ACCURACY.get(method, 0.0) + (0.5 if seed else -0.5)
    return [
        _row("acc.test", "test", "1", "outcome", [0.1, percent / 100]),
        _row("loss.test", "test", "1", "outcome", [0.5]),
        _row("time.train", "train", "s", "noisy", [20.0]),
    ]
