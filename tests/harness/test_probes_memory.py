"""The memory probe: order of the measurements, resident peak, CUDA protocol, exact rows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from probe_bench import bench

from harness import probes
from harness.errors import TrialError
from harness.probe import Bench
from harness.probes import memory
from harness.rows import Row

MIB = 2**20


def touch() -> int:
    """Hold 64 MiB of resident memory for a while."""
    return sum(int(np.ones(64 * MIB, dtype=np.uint8)[::4096].sum()) for _ in range(8))


def by_name(rows: tuple[Row, ...]) -> dict[tuple[str, str], float]:
    assert all(len(row.values) == 1 for row in rows)
    return {(row.metric, row.phase): row.values[0] for row in rows}


def test_exact_rows_of_a_linear_layer() -> None:
    """5 samples of 6 inputs in 3 features at T=2, float32, as two forward and backward parts."""
    reading = probes.get("memory").measure(bench())
    exact = tuple(row for row in reading.rows if row.kind == "exact")
    value = by_name(exact)
    parameters = 4 * (6 * 3 + 3)
    inputs = 4 * 5 * 6 + 8 * 5  # one image for both steps, and the labels
    assert value["mem.persistent", "step"] == 3 * parameters + inputs
    flattened, logits = 4 * 2 * 5 * 6, 4 * 2 * 5 * 3  # the layer copies its expanded input
    assert value["mem.plain_forward", "forward"] == flattened + logits
    assert value["mem.trace", "forward"] == (
        value["mem.live_peak", "forward"] - value["mem.plain_forward", "forward"]
    )
    peaks = [value["mem.live_peak", phase] for phase in ("forward", "backward", "update")]
    assert value["mem.live_peak", "step"] == max(peaks)
    assert 0 < value["mem.live_after_forward", "forward"] <= value["mem.live_peak", "forward"]
    assert {row.unit for row in exact} == {"B"}


def test_the_tracker_comes_after_everything_that_it_would_disturb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []

    class Tracker(memory.LiveBytes):
        def __enter__(self) -> Tracker:
            log.append("track")
            super().__enter__()
            return self

    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    monkeypatch.setattr(memory, "LiveBytes", Tracker)
    monkeypatch.setattr(memory, "peak_of", lambda step: (log.append("rss"), step(), ("how", 7))[2])
    reading = probes.get("memory").measure(bench(log=log))
    assert log == ["step", "step", "plain", "rss", "step", "track", "step", "track", "plain"]
    assert by_name(reading.rows)["cpu.rss_peak", "step"] == 7
    assert reading.facts == {"dispatch_device": "cpu", "rss": "how"}


def test_no_resident_peak_where_malloc_keeps_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    reading = probes.get("memory").measure(bench())
    assert "cpu.rss_peak" not in {row.metric for row in reading.rows}
    assert "MALLOC_MMAP_THRESHOLD_ is not set" in reading.facts["rss"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/self/clear_refs is Linux's")
def test_the_kernel_tells_the_resident_peak() -> None:
    method, peak = memory.peak_of(touch)
    assert method == "VmHWM after clear_refs"
    assert 63 * MIB < peak < 80 * MIB


def test_polling_stands_in_for_the_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "absent" / "clear_refs")
    method, peak = memory.peak_of(touch)
    assert method.startswith("polled")
    assert 8 * MIB < peak < 80 * MIB


def on_cuda(monkeypatch: pytest.MonkeyPatch, log: list[str], retries: int) -> Bench:
    """A bench that says it is on a GPU, and an allocator whose figures are made up."""
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: log.append(name))
    peaks = {"requested": 512, "allocated": 1024, "reserved": 1536}
    stats = {f"{kind}_bytes.all.peak": peak for kind, peak in peaks.items()}
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda: stats | {"num_alloc_retries": retries})
    made = bench(log=log)
    object.__setattr__(made, "device", torch.device("cuda"))
    return made


def test_cuda_peaks_are_read_by_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    reading = probes.get("memory").measure(on_cuda(monkeypatch, log, retries=0))
    warm_up = ["step", "step", "plain"]
    clean = ["synchronize", "empty_cache", "reset_peak_memory_stats"]
    rest = ["step", "step", "synchronize", "measured", "step", "plain"]
    assert log == warm_up + clean + rest
    value = by_name(reading.rows)
    assert value["cuda.requested_peak", "step"] == 512
    assert value["cuda.allocated_peak", "step"] == 1024
    assert value["cuda.reserved_peak", "step"] == 1536
    assert ("cpu.rss_peak", "step") not in value
    assert reading.facts == {"dispatch_device": "cuda"}


def test_a_cuda_allocator_that_retried_has_no_valid_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TrialError, match=r"retried 3 times.*smaller batch"):
        probes.get("memory").measure(on_cuda(monkeypatch, [], retries=3))
