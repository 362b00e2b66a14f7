"""How long a report takes to build and to render, and how large it is, for a made-up run.

python benchmarks/report_speed.py --trials 2000

Writes N records through the real store (time, memory, fidelity and activity of 20 methods), builds
the report from them, and opens it in headless Chromium (Playwright; Debian's chromium or its own).
Times depend on the machine and on what else it does: the load is printed with them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from harness import report
from harness.results.store import Store
from harness.rows import MEASUREMENT_VERSION, SCHEMA_VERSION
from harness.spec import Cell, Choice, Training, digest

METHODS = 20
STEPS = (1, 2, 4, 8, 16)
TRAINED_T = 2
BATCHES = (32, 64)
LAYERS = [f"stages.{stage}.{block}.conv.weight" for stage in range(4) for block in range(2)]
BUDGET = Training(epochs=1)
LOADS = 5
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
METRICS = "Performance.getMetrics"
MARKS = "() => performance.getEntriesByType('mark').map((mark) => [mark.name, mark.startTime])"


def main() -> int:
    """Parse the command line, measure, and print one JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000, help="trials of the made-up run")
    parser.add_argument("--keep", type=Path, help="folder for the run and its report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as spare:
        folder = options.keep or Path(spare)
        write(folder, options.trials)
        found = {"trials": options.trials, **build(folder), **render(folder / report.NAME)}
    found["load"] = [round(value, 1) for value in os.getloadavg()]
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


def build(folder: Path) -> dict[str, float]:
    """Seconds of the wall clock and of the processor to write the report, and its megabytes."""
    wall, own = time.perf_counter(), time.process_time()
    path = report.write(folder).path
    return {
        "build_s": round(time.perf_counter() - wall, 2),
        "build_cpu_s": round(time.process_time() - own, 2),
        "page_mb": round(path.stat().st_size / 1e6, 2),
    }


def render(page: Path) -> dict[str, Any]:
    """Seconds from the start of navigation to the first figure and to the last, medians.

    `tab_cpu_s` is the processor time of the tab until the last: it says what a busy machine hides.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {"first_figure_s": None, "why": "playwright is not installed"}
    first, last, own = [], [], []
    with sync_playwright() as driver:
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for _ in range(LOADS):
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            protocol = tab.context.new_cdp_session(tab)
            protocol.send("Performance.enable")
            tab.goto(page.resolve().as_uri())
            tab.wait_for_selector("html[data-ready=yes]", state="attached")
            tab.wait_for_selector(".panel[data-stale]", state="detached")
            told = {m["name"]: m["value"] for m in protocol.send(METRICS)["metrics"]}
            own.append(told["ProcessTime"])
            drawn = [start for name, start in tab.evaluate(MARKS) if name == "figure"]
            first.append(min(drawn) / 1000)
            last.append(max(drawn) / 1000)
            tab.close()
        browser.close()
    return {
        "first_figure_s": round(statistics.median(first), 2),
        "all_figures_s": round(statistics.median(last), 2),
        "tab_cpu_s": round(statistics.median(own), 2),
    }


def write(folder: Path, trials: int) -> None:
    """Write that many records, as the runner would."""
    store = Store(folder)
    store.write_environment("e" * 12, {"cpu": "made up", "cores": 2, "python": "3.11"})
    for record in islice(records(), trials):
        store.write_record(record)


def records() -> Iterator[dict[str, Any]]:
    """Repeat after repeat of every cell, for ever."""
    rng, order = np.random.default_rng(0), count()
    for repeat in count():
        for batch in BATCHES:
            for number in range(METHODS):
                for T in STEPS:
                    probes = ["time", "memory"]
                    probes += ["fidelity", "activity"] if repeat == 0 and STEPS[1] == T else []
                    for probe in probes:
                        cell = _cell(number, T, batch, probe)
                        rows = _rows(probe, number, T, rng)
                        yield _record(cell, probe, repeat, next(order), rows)


def _cell(number: int, T: int, batch: int, probe: str) -> Cell:
    method = Choice("bptt_m" if number == 0 else f"method_{number}")
    training = BUDGET if probe == "fidelity" else None
    model = Choice("tiny_resnet")
    return Cell(method, model, "digits", T, batch, training=training)


def _record(
    cell: Cell, probe: str, repeat: int, order: int, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION, "measurement": MEASUREMENT_VERSION, "sweep": "made-up",
        "trial": digest([cell.to_json(), probe, repeat])[:16], "cell": cell.to_json(),
        "probe": probe, "repeat": repeat, "order": order, "status": "ok", "error": None,
        "attempts": 1, "environment": "e" * 12, "family": cell.method.name[-1],
        "memory_class": "linear", "code": {"digest": "0", "shared": "0", "commit": None},
        "started": "2026-01-01T00:00:00+00:00", "seconds": 1.0, "timeout_s": 60.0,
        "facts": {"threads": 1, "cpu": {"after": {"mhz": 2400.0 + order % 7}}}, "rows": rows,
    }  # fmt: skip


def _rows(probe: str, number: int, T: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of the kinds and sizes that the probes give."""
    if probe == "time":
        luck = np.exp(rng.normal(0, 0.03))
        return [
            _row(f"{kind}.{part}", part, unit, "noisy", luck * scale * (T + number) * noise)
            for kind, unit, scale, parts in _TIMES
            for part in parts
            for noise in [np.exp(rng.normal(0, 0.02, size=15))]
        ]
    if probe == "memory":
        whole = float((1 + number) * T * 2**20)
        return [
            _row(metric, phase, unit, "exact", np.array([share * whole]))
            for metric, phase, unit, share in _BYTES
        ]
    stages = ("initial", "trained")
    if probe == "fidelity":
        return [
            _row(f"fidelity.{stage}.bptt_m.cosine", layer, "1", "outcome", rng.random(2))
            for stage in stages
            for layer in ("all", *LAYERS)
        ]
    return [
        _row(f"activity.{stage}.rate", layer, "1", "outcome", rng.random(T))
        for stage in stages
        for layer in LAYERS
    ]


_TIMES = (
    ("time", "s", 1e-3, ("step", "forward", "plain_forward", "trace", "backward", "update",
                         "reference")),
    ("ratio", "1", 1e-1, ("step", "backward")),
)  # fmt: skip
_BYTES = (
    ("mem.live_peak", "step", "B", 1.0), ("mem.live_peak", "forward", "B", 0.75),
    ("mem.live_after_forward", "forward", "B", 0.5), ("mem.plain_forward", "forward", "B", 0.25),
    ("mem.trace", "forward", "B", 0.5), ("mem.saved", "forward", "B", 0.5),
    ("mem.persistent", "step", "B", 2.0), ("cpu.requested_peak", "step", "B", 1.1),
    ("cpu.rss_peak", "step", "B", 2.0),
    *((metric, phase, unit, share)
      for metric, unit in (("ops.flops", "FLOP"), ("ops.elem_bytes", "B"), ("ops.count", "1"))
      for phase, share in (("step", 12.0), ("forward", 5.0), ("plain_forward", 4.0),
                           ("backward", 6.0), ("update", 1.0))),
)  # fmt: skip


def _row(metric: str, phase: str, unit: str, kind: str, values: Any) -> dict[str, Any]:
    return {
        "metric": metric, "phase": phase, "unit": unit, "kind": kind,
        "values": [float(value) for value in values],
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
