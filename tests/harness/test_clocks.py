"""The CPU's clock, load, neighbours and heat, read from made-up files and from this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.machine import clocks
from harness.machine.clocks import ClockReading, between, look


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two CPUs, of which we may use the second."""
    monkeypatch.setattr(clocks, "_allowed", lambda: {1})
    for cpu, khz in ((0, 4_000_000), (1, 2_500_000)):
        folder = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        write(tmp_path, f"{folder}/scaling_cur_freq", f"{khz}\n")
    write(tmp_path, "proc/loadavg", "1.25 0.50 0.25 2/300 4242\n")
    write(tmp_path, "sys/class/hwmon/hwmon0/name", "nvme\n")
    write(tmp_path, "sys/class/hwmon/hwmon0/temp1_input", "90000\n")
    write(tmp_path, "sys/class/hwmon/hwmon1/name", "coretemp\n")
    write(tmp_path, "sys/class/hwmon/hwmon1/temp1_input", "51000\n")
    write(tmp_path, "sys/class/hwmon/hwmon1/temp2_input", "62500\n")
    # user nice system idle iowait irq softirq steal guest guest_nice
    write(tmp_path, "proc/stat", "cpu  100 1 20 500 4 2 3 10 50 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    return tmp_path


def test_a_machine_that_tells_everything(machine: Path) -> None:
    seen = look(machine)
    assert (seen.mhz, seen.load, seen.celsius) == (2500.0, 1.25, 62.5)
    assert seen.ticks == (126, 10, 640)


def test_without_cpufreq_the_kernel_s_list_is_read(machine: Path) -> None:
    (machine / "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq").unlink()
    write(machine, "proc/cpuinfo", "cpu MHz\t\t: 1999.5\nflags : fma\ncpu MHz\t\t: 2100.0\n")
    assert look(machine).mhz == 2100.0


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    seen = look(tmp_path)
    assert (seen.mhz, seen.load, seen.celsius, seen.ticks) == (None, None, None, None)
    facts = between(seen, look(tmp_path))
    assert facts["before"] == {"mhz": None, "load": None, "celsius": None}
    assert facts["others"] is facts["steal"] is facts["throttled"] is None


def test_what_happened_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_CLK_TCK": 100}.__getitem__)
    before = ClockReading(10.0, 1.0, 4000.0, 0.5, 60.0, (1000, 10, 5000))
    # 4 s on 2 CPUs are 800 ticks: 500 busy (300 of them ours), 80 stolen
    after = ClockReading(14.0, 4.0, 3000.0, 0.9, 70.0, (1500, 90, 5800))
    assert between(before, after) == {
        "before": {"mhz": 4000.0, "load": 0.5, "celsius": 60.0},
        "after": {"mhz": 3000.0, "load": 0.9, "celsius": 70.0},
        "own_share": 0.75,
        "others": 0.5,
        "steal": 0.1,
        "throttled": False,
    }


@pytest.mark.parametrize(("mhz", "throttled"), [(3001.0, False), (2999.0, True), (5000.0, False)])
def test_a_clock_that_fell_by_a_quarter_is_throttled(mhz: float, throttled: bool) -> None:
    facts = between(ClockReading(0.0, 0.0, 4000.0), ClockReading(1.0, 1.0, mhz))
    assert facts["throttled"] is throttled


def test_a_stretch_shorter_than_a_tick_says_nothing_of_neighbours() -> None:
    facts = between(
        ClockReading(0.0, 0.0, ticks=(1, 1, 3)), ClockReading(1e-3, 0.0, ticks=(1, 1, 3))
    )
    assert facts["others"] is facts["steal"] is None


def test_this_machine_can_be_looked_at() -> None:
    before = look()
    sum(range(10**6))
    facts = between(before, look())
    assert facts["own_share"] > 0
