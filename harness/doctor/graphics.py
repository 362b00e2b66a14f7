"""The GPU that trials would use: whether it is there, alone, cool and counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import environ

from harness.doctor.finding import Examination
from harness.machine import gpu


def examine(environment: Mapping[str, str] = environ) -> Iterator[Examination]:
    """One finding where there is no GPU; else its state, its company and its counters."""
    with gpu.device(environment) as device:
        if isinstance(device, gpu.Absent):
            found = f"none: {device.reason}"
            yield Examination(
                "GPU", "fair", found, "exact figures need none; `plan` predicts cells"
            )
            return
        yield _condition(gpu.state(device))
        yield from _company(gpu.usage(device))
        yield _energy(gpu.energy(device))


def _condition(state: gpu.State) -> Examination:
    plain = state.to_json()
    words = [
        f"{plain[name]:g} {unit}"
        for name, unit in (("sm_mhz", "MHz"), ("temperature_c", "°C"), ("power_w", "W"))
        if name in plain
    ]
    held = state.throttled(state)
    found = ", ".join(words) or "the driver tells neither clock nor temperature"
    if held:
        advice = "let it cool, or raise its power limit, before you time anything"
        return Examination("GPU", "bad", f"{found}; held down by {', '.join(held)}", advice)
    if not plain.get("persistence", True):
        advice = "nvidia-smi -pm 1, so that the driver stays loaded between trials"
        return Examination("GPU", "fair", f"{found}; persistence mode is off", advice)
    return Examination("GPU", "good", found)


def _company(usage: gpu.Usage) -> Iterator[Examination]:
    if isinstance(usage.processes, gpu.Absent):
        found = f"the driver does not list processes: {usage.processes.reason}"
        yield Examination(
            "GPU processes", "fair", found, "make sure that nothing else uses the GPU"
        )
    elif usage.pids:
        pids = ", ".join(map(str, sorted(usage.pids)))
        advice = "end them: trials that share the GPU are invalid"
        yield Examination("GPU processes", "bad", f"in use by process {pids}", advice)
    else:
        yield Examination("GPU processes", "good", "nobody else uses it")


def _energy(counted: int | gpu.Absent) -> Examination:
    if isinstance(counted, gpu.Absent):
        found = f"no counter: {counted.reason}"
        return Examination("energy (GPU)", "fair", found, "energy trials are skipped here")
    return Examination("energy (GPU)", "good", "the driver counts millijoules")
