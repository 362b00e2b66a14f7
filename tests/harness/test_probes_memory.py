"""The memory probe: order of the measurements, resident peak, CUDA protocol, exact rows."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from probe_bench import bench
from torch import Tensor, library

from harness.errors import TrialError
from harness.rows import Row
from harness.trial import probes
from harness.trial.exact import tier
from harness.trial.probe import Bench, Phase
from harness.trial.probes import memory

MIB = 2**20


def touch() -> int:
    """Hold 64 MiB of resident memory for a while."""
    return sum(int(np.ones(64 * MIB, dtype=np.uint8)[::4096].sum()) for _ in range(8))


def by_name(rows: tuple[Row, ...]) -> dict[tuple[str, str], float]:
    assert all(len(row.values) == 1 for row in rows)
    return {(row.metric, row.phase): row.values[0] for row in rows}


def test_the_exact_tier_comes_after_everything_that_it_would_disturb(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []
    measure = tier.measure
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    monkeypatch.setattr(memory, "peak_of", lambda step: (log.append("rss"), step(), ("how", 7))[2])
    monkeypatch.setattr(tier, "measure", lambda bench: (log.append("exact"), measure(bench))[1])
    reading = probes.get("memory").measure(bench(log=log))
    requested = ["step", "step"]
    assert log == [
        "step",
        "step",
        "plain",
        "rss",
        "step",
        *requested,
        "exact",
        "step",
        "step",
        "plain",
    ]
    assert by_name(reading.rows)["cpu.rss_peak", "step"] == 7
    assert reading.facts == {"dispatch_device": "cpu", "operators": "torch", "rss": "how"}
    count = tuple(row for row in reading.rows if row.kind == "exact")
    assert count == measure(bench()).rows


def test_no_resident_peak_where_malloc_keeps_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    reading = probes.get("memory").measure(bench())
    banded = {row.metric for row in reading.rows if row.kind == "banded"}
    assert banded == {"cpu.requested_peak", "mem.workspace"}
    assert "MALLOC_MMAP_THRESHOLD_ is not set" in reading.facts["rss"]


def test_the_allocator_agrees_where_operators_need_no_scratch() -> None:
    value = by_name(probes.get("memory").measure(bench()).rows)
    workspace = value["cpu.requested_peak", "step"] - value["mem.live_peak", "step"]
    assert value["mem.workspace", "step"] == workspace
    assert 0 <= workspace < 300  # scalars inside operators


def test_bytes_hidden_inside_an_operator_show_up_as_workspace() -> None:
    @library.custom_op("hiding::scratch", mutates_args=(), tags=(torch.Tag.pointwise,))
    def scratch(x: Tensor) -> Tensor:
        return x + torch.zeros(8 * MIB // 4).sum()

    made = bench()

    def step(x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        with phase("forward"):
            scratch(torch.ones(3))
        return train_step(x, y, phase)

    train_step = made.train_step
    plain = by_name(probes.get("memory").measure(made).rows)
    hiding = by_name(probes.get("memory").measure(replace(bench(), train_step=step)).rows)
    assert hiding["mem.live_peak", "step"] - plain["mem.live_peak", "step"] <= 24
    assert hiding["mem.workspace", "step"] == pytest.approx(8 * MIB, abs=1024)


def test_state_that_is_replaced_is_no_request() -> None:
    """The profiler does not see the release of what was there before it."""
    kept = [torch.zeros(1000)]

    def step() -> None:
        kept.append(kept.pop() * 0.5)

    assert memory.requested_peak(step) == pytest.approx(4000, abs=64)  # a scalar's copy


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


def on_cuda(monkeypatch: pytest.MonkeyPatch, log: list[str], **troubles: int) -> Bench:
    """A bench that says it is on a GPU, and an allocator whose figures are made up."""
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: log.append(name))
    peaks = {"requested": 512, "allocated": 1024, "reserved": 1536}
    stats = {f"{kind}_bytes.all.peak": peak for kind, peak in peaks.items()}
    counters = {"num_alloc_retries": 0, "num_ooms": 0} | troubles
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda: stats | counters)
    made = bench(log=log)
    object.__setattr__(made, "device", torch.device("cuda"))
    return made


def test_cuda_peaks_are_read_by_the_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    reading = probes.get("memory").measure(on_cuda(monkeypatch, log))
    warm_up = ["step", "step", "plain"]
    clean = ["synchronize", "empty_cache", "reset_peak_memory_stats"]
    rest = ["step", "step", "synchronize", "measured", "step", "step", "plain"]
    assert log == warm_up + clean + rest
    value = by_name(reading.rows)
    assert value["cuda.requested_peak", "step"] == 512
    assert value["cuda.allocated_peak", "step"] == 1024
    assert value["cuda.reserved_peak", "step"] == 1536
    counted = value["mem.persistent", "step"] + value["mem.live_peak", "step"]
    assert value["cuda.workspace", "step"] == 512 - counted
    assert ("cpu.rss_peak", "step") not in value
    assert reading.facts == {"dispatch_device": "cuda", "operators": "torch"}


@pytest.mark.parametrize(
    ("trouble", "words"),
    [("num_alloc_retries", "retried 3 times"), ("num_ooms", "ran out 3 times")],
)
def test_a_cuda_allocator_in_trouble_has_no_valid_peak(
    monkeypatch: pytest.MonkeyPatch, trouble: str, words: str
) -> None:
    log: list[str] = []
    with pytest.raises(TrialError, match=f"{words}.*smaller batch"):
        probes.get("memory").measure(on_cuda(monkeypatch, log, **{trouble: 3}))
    assert "measured" not in log
