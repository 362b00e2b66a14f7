"""Made-up rows of each probe, with figures that tests know."""

from __future__ import annotations

from typing import Any

import numpy as np

MIB = 2**20
# method: family, MiB at T=1, MiB per further step, ms of forward, trace, backward per step
METHODS: dict[str, tuple[str, int, int, float, float, float]] = {
    "bptt_m": ("exact", 4, 4, 4.0, 1.0, 8.0),
    "bptt_s": ("exact", 5, 5, 5.0, 1.5, 9.5),
    "rate_m": ("rate", 4, 0, 4.0, 1.2, 0.5),
    "rate_s": ("rate", 3, 0, 5.0, 1.5, 0.6),
    "sltt": ("online", 2, 0, 5.0, -0.02, 6.0),
    "ottt_a": ("online", 3, 0, 5.0, 2.0, 6.5),
}
ACCURACY = {"bptt_m": 84.0, "bptt_s": 83.0, "rate_m": 82.5, "rate_s": 81.0, "sltt": 80.0}
UPDATE_MS = 1.0
PERSISTENT_MIB = 10
WORKSPACE_MIB = 1
WEIGHTS = ("stem.conv.weight", "stages.0.0.first.conv.weight", "head.weight")
SPIKING = ("stem.neuron", "stages.0.0.first.neuron")
COSINE = {"bptt_m": 1.0, "bptt_s": 0.98, "rate_m": 0.9, "rate_s": 0.85, "sltt": 0.7, "ottt_a": 0.75}
RATES = {"stem.neuron": 0.2, "stages.0.0.first.neuron": 0.1}
JOULES = {"bptt_m": 4.0, "bptt_s": 5.0, "rate_m": 2.0, "rate_s": 2.5, "sltt": 4.4, "ottt_a": 4.8}


def memory_mib(method: str, T: int) -> int:
    """Live peak of a step."""
    _, first, more, *_ = METHODS[method]
    return first + more * (T - 1)


def step_ms(method: str, T: int) -> float:
    """Time of a step without noise."""
    _, _, _, forward, trace, backward = METHODS[method]
    return (forward + trace + backward) * T + UPDATE_MS


def rows(probe: str, method: str, T: int, seed: int, rng: Any) -> list[dict[str, Any]]:
    """The rows of one trial; a method that is not in `METHODS` costs what rate_m costs."""
    known = method if method in METHODS else "rate_m"
    makers = {"time": _time, "memory": _memory, "accuracy": _accuracy, "energy": _energy}
    makers |= {"fidelity": _fidelity, "activity": _activity}
    return makers[probe](known, T, seed, rng)


def _row(metric: str, phase: str, unit: str, kind: str, values: list[float]) -> dict[str, Any]:
    return {"metric": metric, "phase": phase, "unit": unit, "kind": kind, "values": values}


def _time(method: str, T: int, seed: int, rng: Any) -> list[dict[str, Any]]:
    _, _, _, forward, trace, backward = METHODS[method]
    parts = {
        "forward": (forward + trace) * T, "plain_forward": forward * T, "trace": trace * T,
        "backward": backward * T, "update": UPDATE_MS, "step": step_ms(method, T),
        "reference": step_ms("bptt_m", T),
    }  # fmt: skip
    luck = np.exp(rng.normal(0, 0.04))
    noise = luck * np.exp(rng.normal(0, 0.02, size=5))
    ratios = {"step": step_ms(method, T) / step_ms("bptt_m", T), "backward": backward / 8.0}
    return [
        *(
            _row(f"time.{key}", key, "s", "noisy", [float(ms / 1000 * n) for n in noise])
            for key, ms in parts.items()
        ),
        *(
            _row(f"ratio.{key}", key, "1", "noisy", [float(ratio * n / luck) for n in noise])
            for key, ratio in ratios.items()
        ),
    ]


def _memory(method: str, T: int, seed: int, rng: Any) -> list[dict[str, Any]]:
    peak = memory_mib(method, T) * MIB
    return [
        _row("mem.live_peak", "step", "B", "exact", [peak]),
        _row("mem.live_peak", "forward", "B", "exact", [peak * 3 // 4]),
        _row("mem.live_after_forward", "forward", "B", "exact", [peak // 2]),
        _row("mem.plain_forward", "forward", "B", "exact", [MIB]),
        _row("mem.trace", "forward", "B", "exact", [peak * 3 // 4 - MIB]),
        _row("mem.saved", "forward", "B", "exact", [peak // 2]),
        _row("mem.persistent", "step", "B", "exact", [PERSISTENT_MIB * MIB]),
        _row("cpu.requested_peak", "step", "B", "banded", [float(peak + WORKSPACE_MIB * MIB)]),
        _row("cpu.rss_peak", "step", "B", "banded", [float(peak + 30 * MIB + rng.integers(MIB))]),
        *(
            _row(metric, phase, unit, "exact", [share * T * scale])
            for metric, unit, scale in (
                ("ops.flops", "FLOP", 10**8),
                ("ops.elem_bytes", "B", MIB),
                ("ops.count", "1", 10),
            )
            for phase, share in PARTS.items()
        ),
    ]


PARTS = {"step": 12, "forward": 5, "plain_forward": 4, "backward": 6, "update": 1}


def _accuracy(method: str, T: int, seed: int, rng: Any) -> list[dict[str, Any]]:
    percent = ACCURACY.get(method, 0.0) + (0.5 if seed else -0.5)
    return [
        _row("acc.test", "test", "1", "outcome", [0.1, percent / 100]),
        _row("loss.test", "test", "1", "outcome", [0.5]),
        _row("time.train", "train", "s", "noisy", [20.0]),
    ]


def _energy(method: str, T: int, seed: int, rng: Any) -> list[dict[str, Any]]:
    joules = [JOULES[method] * T * n for n in (0.99, 1.0, 1.01)]
    return [
        _row("energy.step", "step", "J", "noisy", joules),
        _row("energy.sample", "step", "J", "noisy", [j / 32 for j in joules]),
    ]


def _fidelity(method: str, T: int, seed: int, rng: Any) -> list[dict[str, Any]]:
    found = []
    for stage in ("initial", "trained"):
        for place, path in enumerate(("all", *WEIGHTS)):
            cosine = COSINE[method] - 0.02 * place
            for reference in ("bptt_m", "bptt_s"):
                name = f"fidelity.{stage}.{reference}"
                found.append(_row(f"{name}.cosine", path, "1", "outcome", [cosine - 0.01, cosine]))
                found.append(_row(f"{name}.norm_ratio", path, "1", "outcome", [1.1, 1.1]))
        metric = f"assumption.{stage}.a1_cosine"
        found += [_row(metric, path, "1", "outcome", [0.9]) for path in SPIKING]
    return found


def _activity(method: str, T: int, seed: int, rng: Any) -> list[dict[str, Any]]:
    return [
        _row(f"activity.{stage}.rate", path, "1", "outcome", [rate] * T)
        for stage in ("initial", "trained")
        for path, rate in RATES.items()
    ]
