"""The GPU that trials would use: whether it is there, alone, cool and counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os import environ

from harness.doctor.finding import Finding
from harness.machine import gpu


def examine(environment: Mapping[str, str] = environ) -> Iterator[Finding]:
    """One finding where there is no GPU; else its state, its company and its counters."""
    with gpu.device(environment) as device:
        if isinstance(device, gpu.Absent):
            found = f"none: {device.reason}"
            yield Finding("GPU", "fair", found, "exact figures need none; `plan` predicts cells")
            return
        yield _condition(gpu.state(device))
        yield from _company(gpu.usage(device))
        yield _energy(gpu.energy(device))


def _condition(state: gpu.State) -> Finding:
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
        return Finding("GPU", "bad", f"{found}; held down by {', '.join(held)}", advice)
    if not plain.get("persistence", True):
        advice = "nvidia-smi -pm 1, so that the driver stays loaded between trials"
        return Finding("GPU", "fair", f"{found}; persistence mode is off", advice)
    return Finding("GPU", "good", found)


def _company(usage: gpu.Usage) -> Iterator[Finding]:
    if isinstance(usage.processes, gpu.Absent):
        found = f"the driver does not list processes: {usage.processes.reason}"
        yield Finding("GPU processes", "fair", found, "make sure that nothing else uses the GPU")
    elif usage.pids:
        pids = ", ".join(map(str, sorted(usage.pids)))
        advice = "end them: trials that share the GPU are invalid"
        yield Finding("GPU processes", "bad", f"in use by process {pids}", advice)
    else:
        yield Finding("GPU processes", "good", "nobody else uses it")


def _energy(counted: int | gpu.Absent) -> Finding:
    if isinstance(counted, gpu.Absent):
        found = f"no counter: {counted.reason}"
        return Finding("energy (GPU)", "fair", found, "energy trials are skipped here")
    return Finding("energy (GPU)", "good", "the driver counts millijoules")
