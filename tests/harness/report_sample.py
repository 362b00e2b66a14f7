"""A made-up sweep with known figures, written to disk as the runner would."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from report_rows import (
    ACCURACY,
    METHODS,
    MIB,
    PERSISTENT_MIB,
    UPDATE_MS,
    WORKSPACE_MIB,
    memory_mib,
    rows,
    step_ms,
)

from harness.report.estimates import Group, groups
from harness.results.quantities import COSTS
from harness.results.store import load
from harness.rows import MEASUREMENT_VERSION, SCHEMA_VERSION
from harness.spec import Cell, Choice, Training, digest

__all__ = [
    "ACCURACY", "METHODS", "MIB", "PERSISTENT_MIB", "UPDATE_MS", "WORKSPACE_MIB",
    "memory_mib", "step_ms",
]  # fmt: skip

MACHINE = "0123456789ab"
STEPS = (1, 2, 4, 8, 16)
TRAIN_T = 4
BUDGET = Training(epochs=2)
TRAINED = ("accuracy", "fidelity", "activity")
LOST = {("bptt_s", 16, "memory"): "oom_cuda", ("bptt_s", 16, "time"): "timeout"}
QUANTITIES = {quantity.key: quantity for quantity in COSTS}
MANY = (*METHODS, *(f"method_{letter}" for letter in "abcdefghijklmn"))
"""Twenty methods: with two batches and five repeats they make 2,000 trials of costs alone."""

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


def write(
    folder: Path,
    *,
    repeats: int = 3,
    extra: str = "",
    batches: tuple[int, ...] = (32,),
    methods: Sequence[str] = tuple(METHODS),
    untimed: Collection[int] = (),
) -> None:
    """Write a sweep of six methods (and `extra`, an unknown one) into `folder`.

    At the steps in `untimed` only memory is measured.
    """
    _write(folder / "environments" / f"{MACHINE}.json", ENVIRONMENT)
    named = [*methods, extra] if extra else list(methods)
    order = 0
    for batch in batches:
        for record in _records(named, repeats, batch):
            if record["probe"] == "time" and record["cell"]["T"] in untimed:
                continue
            _write(folder / "trials" / f"{record['trial']}.json", {**record, "order": order})
            order += 1


def group(folder: Path, **options: Any) -> Group:
    """The only group of a sweep written by `write`."""
    write(folder, **options)
    tables = load(folder)
    (found,) = groups(tables.trials, tables.measurements)
    return found


def _write(path: Path, plain: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain), encoding="utf-8")


def _records(methods: list[str], repeats: int, batch: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    for repeat in range(repeats):
        for T in STEPS:
            for method in methods:
                for probe in ("time", "memory"):
                    yield _record(method, T, probe, repeat, batch, rng)
    for method in methods:
        for seed in range(2):
            yield _record(method, TRAIN_T, "accuracy", 0, batch, rng, seed)
        yield _record(method, TRAIN_T, "activity", 0, batch, rng)
        for T in STEPS:
            yield _record(method, T, "energy", 0, batch, rng)
        for T in (2, TRAIN_T):
            yield _record(method, T, "fidelity", 0, batch, rng)


def _record(
    method: str, T: int, probe: str, repeat: int, batch: int, rng: Any, seed: int = 0
) -> dict[str, Any]:
    training = BUDGET if probe in TRAINED else None
    model, data = Choice("tiny_resnet"), "fashion-mini"
    cell = Cell(Choice(method), model, data, T, batch, seed=seed, training=training)
    lost = LOST.get((method, T, probe), "ok")
    if probe == "accuracy" and method == "ottt_a":
        lost = "crash"
    found = rows(probe, method, T, seed, rng)
    return {
        "schema": SCHEMA_VERSION, "measurement": MEASUREMENT_VERSION, "sweep": "sample",
        "trial": digest([cell.to_json(), probe, repeat])[:16],
        "cell": cell.to_json(), "probe": probe, "repeat": repeat, "status": lost,
        "error": None if lost == "ok" else "RuntimeError: <made up>", "attempts": 1,
        "environment": MACHINE, "family": METHODS.get(method, ("novel",))[0],
        "memory_class": "constant", "code": {"digest": "c0de", "commit": "f" * 40, "dirty": False},
        "started": "2026-01-02T03:04:05+00:00", "seconds": 1.5,
        "facts": {"threads": 1, "malloc": {"MALLOC_MMAP_MAX_": "0"}, "nvml": "absent: no driver",
                  "cpu": {"before": {"mhz": 2500.0, "load": 0.5}, "after": {"mhz": 2400.0}}},
        "rows": found if lost == "ok" else [],
    }  # fmt: skip
