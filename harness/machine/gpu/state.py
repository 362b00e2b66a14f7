"""The condition of a device at one moment: what explains a figure that is off.

Clocks, power and temperature are the board's, also for a MIG instance.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from harness.machine.gpu.device import Device
from harness.machine.gpu.nvml import Absent

SLOW: Final = 0.75
"""Share of the default clock below which a timing is suspect: the guard of NVBench."""

IDLE: Final = "gpu_idle"
_CHOSEN: Final = (IDLE, "applications_clocks_setting")
_REASONS: Final = {
    0x001: IDLE,
    0x002: "applications_clocks_setting",
    0x004: "sw_power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal_slowdown",
    0x040: "hw_thermal_slowdown",
    0x080: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
_SM, _MEMORY = 1, 2
_TEMPERATURE_OF_GPU: Final = 0
_POWER, _THERMAL = 0, 1

Figure = float | Absent


@dataclass(frozen=True)
class State:
    """Clocks in MHz, power in W, temperature in °C.

    Attributes:
        sm_default_mhz: the clock that applications get by default; the maximum where the driver
            tells none.
        throttle: names of the reasons for which the clocks are not at their maximum.
        power_throttled_s, thermal_throttled_s: seconds below the requested clocks for want of
            power or cooling, counted by the driver since it was loaded: unlike `throttle`, two
            readings tell what happened between them.
        performance_state: 0 is the fastest.
    """

    sm_mhz: Figure
    sm_max_mhz: Figure
    sm_default_mhz: Figure
    memory_mhz: Figure
    memory_max_mhz: Figure
    temperature_c: Figure
    power_w: Figure
    performance_state: Figure
    persistence: Figure
    power_throttled_s: Figure
    thermal_throttled_s: Figure
    throttle: tuple[str, ...] | Absent

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary: the figures, and under "absent" why others are missing."""
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {name: value for name, value in every.items() if not isinstance(value, Absent)}
        missing = {name: value.reason for name, value in every.items() if name not in plain}
        return plain | ({"absent": missing} if missing else {})

    def throttled(self, since: State) -> list[str]:
        """What held the clocks down since another reading, or holds them now; nobody chose it."""
        found = [] if isinstance(self.throttle, Absent) else list(self.throttle)
        for name in ("power", "thermal"):
            now = getattr(self, f"{name}_throttled_s")
            then = getattr(since, f"{name}_throttled_s")
            if not isinstance(now, Absent) and not isinstance(then, Absent) and now > then:
                found.append(f"{name} for {now - then:.3g} s")
        return [reason for reason in found if reason not in _CHOSEN]

    @property
    def slow(self) -> bool:
        """Whether a device at work runs below `SLOW` of its default clock."""
        if isinstance(self.sm_mhz, Absent) or isinstance(self.sm_default_mhz, Absent):
            return False
        resting = not isinstance(self.throttle, Absent) and IDLE in self.throttle
        return not resting and self.sm_mhz < SLOW * self.sm_default_mhz


def state(device: Device) -> State:
    """Read the condition now; each figure fails by itself."""
    ask = device.ask_board
    sm_max = _figure(ask("nvmlDeviceGetMaxClockInfo", _SM))
    default = _figure(ask("nvmlDeviceGetDefaultApplicationsClock", _SM))
    return State(
        sm_mhz=_figure(ask("nvmlDeviceGetClockInfo", _SM)),
        sm_max_mhz=sm_max,
        sm_default_mhz=sm_max if isinstance(default, Absent) else default,
        memory_mhz=_figure(ask("nvmlDeviceGetClockInfo", _MEMORY)),
        memory_max_mhz=_figure(ask("nvmlDeviceGetMaxClockInfo", _MEMORY)),
        temperature_c=_figure(ask("nvmlDeviceGetTemperature", _TEMPERATURE_OF_GPU)),
        power_w=_figure(ask("nvmlDeviceGetPowerUsage"), 1e3),
        performance_state=_figure(ask("nvmlDeviceGetPerformanceState")),
        persistence=_figure(ask("nvmlDeviceGetPersistenceMode")),
        power_throttled_s=_violation(device, _POWER),
        thermal_throttled_s=_violation(device, _THERMAL),
        throttle=_throttle(device),
    )


def _figure(value: Any, unit: float = 1) -> Figure:
    """A number in units of `unit`; whole numbers stay whole."""
    if isinstance(value, Absent):
        return value
    return int(value) if unit == 1 else float(value) / unit


def _violation(device: Device, policy: int) -> Figure:
    found = device.ask_board("nvmlDeviceGetViolationStatus", policy)
    return found if isinstance(found, Absent) else int(found.violationTime) / 1e9


def _throttle(device: Device) -> tuple[str, ...] | Absent:
    bits = device.ask_board("nvmlDeviceGetCurrentClocksEventReasons")
    if isinstance(bits, Absent):  # its name before R535
        bits = device.ask_board("nvmlDeviceGetCurrentClocksThrottleReasons")
    if isinstance(bits, Absent):
        return bits
    return tuple(name for bit, name in _REASONS.items() if int(bits) & bit)
