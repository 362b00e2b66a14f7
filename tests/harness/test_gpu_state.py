"""Clocks, throttling and the energy counter of a device."""

from __future__ import annotations

import sys
from dataclasses import replace

import fake_nvml
import pytest
from fake_nvml import FakeNvml, Instance

from harness.machine import gpu


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def state() -> gpu.State:
    with gpu.device({}) as device:
        assert isinstance(device, gpu.Device)
        return gpu.state(device)


def energy(visible: str = "0") -> int | gpu.Absent:
    with gpu.device({"CUDA_VISIBLE_DEVICES": visible}) as device:
        assert isinstance(device, gpu.Device)
        return gpu.energy(device)


def test_the_state_of_a_board(nvml: FakeNvml) -> None:
    nvml.boards[0].reasons = 0x1 | 0x4 | 0x40
    assert state().to_json() == {
        "sm_mhz": 1900,
        "sm_max_mhz": 2000,
        "sm_default_mhz": 1800,
        "memory_mhz": 1900,
        "memory_max_mhz": 2000,
        "temperature_c": 41,
        "power_w": 62.5,
        "performance_state": 0,
        "persistence": 1,
        "power_throttled_s": 0.0,
        "thermal_throttled_s": 0.0,
        "throttle": ("gpu_idle", "sw_power_cap", "hw_thermal_slowdown"),
    }


def test_each_figure_fails_by_itself(nvml: FakeNvml) -> None:
    nvml.failing = {
        "nvmlDeviceGetPowerUsage": fake_nvml.NO_PERMISSION,
        "nvmlDeviceGetDefaultApplicationsClock": fake_nvml.NOT_SUPPORTED,
        "nvmlDeviceGetCurrentClocksEventReasons": fake_nvml.FUNCTION_NOT_FOUND,
    }
    found = state().to_json()
    assert list(found["absent"]) == ["power_w"]
    assert "Insufficient Permissions" in found["absent"]["power_w"]
    assert found["sm_default_mhz"] == 2000  # the maximum stands in
    assert found["throttle"] == ("gpu_idle",)  # by the function's older name


def test_a_driver_that_says_nothing(nvml: FakeNvml) -> None:
    names = [name for name in vars(FakeNvml) if name.startswith("nvmlDeviceGet")]
    kept = ("Count", "HandleByIndex", "UUID", "MigMode")
    nvml.failing = {name: fake_nvml.NOT_SUPPORTED for name in names if not name.endswith(kept)}
    silent = state()
    assert list(silent.to_json()) == ["absent"]
    assert not silent.slow
    assert silent.throttled(silent) == []


def test_throttling_is_what_nobody_chose(nvml: FakeNvml) -> None:
    nvml.boards[0].reasons = 0x1 | 0x2
    before = state()
    assert before.throttled(before) == []
    nvml.boards[0].reasons = 0x1 | 0x20
    nvml.boards[0].power_violation = 250_000_000
    assert state().throttled(before) == ["sw_thermal_slowdown", "power for 0.25 s"]


def test_a_clock_is_slow_below_three_quarters_of_the_default(nvml: FakeNvml) -> None:
    nvml.boards[0].reasons = 0
    nvml.boards[0].sm = 1350
    at_the_edge = state()
    assert not at_the_edge.slow
    below = replace(at_the_edge, sm_mhz=1349)
    assert below.slow
    assert not replace(below, throttle=("gpu_idle",)).slow  # a resting board saves power


def test_the_energy_counter(nvml: FakeNvml) -> None:
    nvml.boards[0].energy = lambda: 123_456
    assert energy() == 123_456
    nvml.failing["nvmlDeviceGetTotalEnergyConsumption"] = fake_nvml.NOT_SUPPORTED
    assert energy() == gpu.Absent("NVMLError_NotSupported: Not Supported")


def test_a_mig_instance_shares_the_boards_counter(nvml: FakeNvml) -> None:
    board = nvml.boards[0]
    board.in_mig_mode = True
    board.instances = [Instance(board, "MIG-1", (1, 0))]
    found = energy("MIG-1")
    assert isinstance(found, gpu.Absent)
    assert "the whole board's" in found.reason
    assert state().sm_mhz == 1900
