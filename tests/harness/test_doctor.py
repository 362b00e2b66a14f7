"""The doctor: each finding follows what is there to see."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from harness.console import findings
from harness.doctor import counters, machine, noise
from harness.doctor.finding import Examination, graded, worst
from harness.outcome import Outcome
from harness.rows import Row
from harness.spec import TrialSpec


class Machine:
    """An executor whose trials take the given steps and ratios."""

    def __init__(self, steps: Sequence[float], ratios: Sequence[float], **how: object) -> None:
        self.steps, self.ratios = list(steps), list(ratios)
        self.peaks = how.get("peaks", (7, 7))
        self.status = str(how.get("status", "ok"))

    def run(self, spec: TrialSpec, folder: Path) -> Outcome:
        if spec.probe == "memory":
            peak = self.peaks[spec.order - len(self.steps)]  # type: ignore[index]
            rows = (Row("mem.live_peak", "step", "B", "exact", (peak,)),)
        else:
            rows = (
                Row("time.step", "step", "s", "noisy", (self.steps[spec.order],) * 3),
                Row("ratio.step", "step", "1", "noisy", (self.ratios[spec.order],) * 3),
            )
        return Outcome(self.status, None if self.status == "ok" else "broken", rows)

    def stop(self) -> None: ...


def examined(*args: Sequence[float], **how: object) -> dict[str, Examination]:
    told: list[tuple[int, int]] = []
    found = noise.examine(
        Machine(*args, **how), len(args[0]), lambda done, total: told.append((done, total))
    )
    assert told == [(n + 1, len(args[0]) + 2) for n in range(len(args[0]) + 2)]
    return {finding.topic: finding for finding in found}


def test_a_quiet_machine_is_good_in_every_respect() -> None:
    found = examined([0.1] * 8, [0.9, 0.901] * 4)
    assert {finding.verdict for finding in found.values()} == {"good"}
    assert "100.0 to 100.0 ms in 8 processes" in found["step noise"].found
    assert not any(finding.advice for finding in found.values())


def test_noisy_seconds_with_quiet_ratios_advise_ratios() -> None:
    found = examined([0.1, 0.2, 0.3, 0.1] * 2, [1.0, 1.01] * 4)
    assert found["step noise"].verdict == "bad"
    assert "ratio.step" in found["step noise"].advice
    assert found["ratio noise"].verdict == "good"


def test_the_visible_change_follows_from_the_spread() -> None:
    # Logarithms +-0.05: standard deviation 0.05 * sqrt(8/7); 1.96 * that * sqrt(2/8) = 5.2 %.
    ratios = [1.0512711, 0.9512294] * 4
    assert "above about 5.4%" in examined([0.1] * 8, ratios)["ratio noise"].found
    assert examined([0.1] * 8, ratios)["ratio noise"].verdict == "fair"


def test_a_drift_between_equal_sides_is_seen() -> None:
    apart = [1.0, 1.2, 1.2, 1.0] * 3  # ABBA
    assert "1.200 (1.200 to 1.200)" in examined([0.1] * 12, apart)["A/A"].found
    assert examined([0.1] * 12, apart)["A/A"].verdict == "fair"
    steady = [1.0, 1.1, 1.2, 1.3] * 3  # a linear drift is what ABBA cancels on average
    assert examined([0.1] * 12, steady)["A/A"].verdict == "good"


def test_exact_figures_that_differ_are_bad() -> None:
    found = examined([0.1] * 4, [1.0] * 4, peaks=(7, 8))["exact counts"]
    assert (found.verdict, "mem.live_peak" in found.found) == ("bad", True)


def test_failed_trials_are_told_with_their_error() -> None:
    found = examined([0.1] * 4, [1.0] * 4, status="crash")
    assert found["step noise"].verdict == found["exact counts"].verdict == "bad"
    assert "4 of 4 time trials failed: broken" in found["step noise"].found


def test_a_busy_neighbour_is_named() -> None:
    idle = next(f for f in machine.load(0.3) if f.topic == "load")
    spin = "while True: pass"
    with subprocess.Popen([sys.executable, "-c", spin]) as neighbour:
        time.sleep(0.3)
        name = f"({neighbour.pid})"
        busy = next(f for f in machine.load(0.5) if f.topic == "load")
        neighbour.kill()
    assert name not in idle.found
    assert name in busy.found
    assert busy.verdict in ("fair", "bad")
    assert "end or move" in busy.advice


@pytest.mark.parametrize(
    ("files", "verdict", "words"),
    [
        ({}, "fair", "not visible"),
        ({"cpu0/cpufreq/scaling_governor": "performance"}, "good", "turbo off"),
        ({"cpu0/cpufreq/scaling_governor": "powersave"}, "fair", "governor powersave"),
        (
            {"cpu0/cpufreq/scaling_governor": "performance", "intel_pstate/no_turbo": "0"},
            "fair",
            "turbo on",
        ),
        ({"cpu0/cpufreq/scaling_governor": "performance", "cpufreq/boost": "0"}, "good", "off"),
    ],
)
def test_clocks(tmp_path: Path, files: dict[str, str], verdict: str, words: str) -> None:
    for name, text in files.items():
        file = tmp_path / "sys/devices/system/cpu" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    found = machine.clocks(tmp_path)
    assert (found.verdict, words in found.found) == (verdict, True)
    assert bool(found.advice) == (verdict != "good")


def test_a_counter_that_is_missing_has_a_remedy(tmp_path: Path) -> None:
    for examine in (counters.resident, counters.killer, counters.energy):
        assert (examine(tmp_path).verdict, bool(examine(tmp_path).advice)) == ("fair", True)
    for name in ("proc/self/clear_refs", "proc/vmstat", "sys/class/powercap/a/energy_uj"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for examine in (counters.resident, counters.killer, counters.energy):
        assert (examine(tmp_path).verdict, examine(tmp_path).advice) == ("good", "")


def test_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -pipe")
    assert "CXX='no-such-compiler -pipe' is no C++" in machine.compiler(lambda: None).found
    assert "unset CXX" in machine.compiler(lambda: None).advice
    monkeypatch.delenv("CXX")
    assert machine.compiler(lambda: None).verdict == "fair"
    assert "install g++" in machine.compiler(lambda: None).advice
    assert machine.compiler(lambda: "g++ 12") == Examination("compiler", "good", "g++ 12")


def test_the_commit() -> None:
    assert machine.commit(lambda: (None, None)).verdict == "fair"
    assert "uncommitted" in machine.commit(lambda: ("abcdef123", True)).found
    assert machine.commit(lambda: ("abcdef123", False)) == Examination("commit", "good", "abcdef1")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    assert machine.disk(tmp_path / "not/yet/there").verdict in ("good", "fair")
    assert machine.disk(Path("/proc/results")).verdict == "bad"


def test_the_page_shows_every_finding_and_the_worst_verdict() -> None:
    found = [Examination("a", "good", "fine"), Examination("b", "bad", "broken [x]", "mend it")]
    console = Console(width=100, record=True)
    for part in findings.page(found):
        console.print(part)
    text = console.export_text()
    for word in ("fine", "broken [x]", "mend it", "bad: some figures", "(1 good, 0 fair, 1 bad)"):
        assert word in text
    assert worst([]) == "good"
    assert [graded(x, 1, 2) for x in (0.5, 1, 2)] == ["good", "fair", "bad"]
