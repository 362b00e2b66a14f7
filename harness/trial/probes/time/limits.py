"""Times that cannot be: faster than the device computes, or than the host saw.

Both checks would have caught published figures that were taken without waiting for the GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any, Final

from torch.utils.flop_counter import FlopCounterMode

from harness.errors import TrialError
from harness.trial.ceiling import Ceiling, Group
from harness.trial.probe import Bench
from harness.trial.probes.time.stopwatch import Spans

HOST_SHARE: Final = 0.9
"""The host's clock starts before the events and stops after them; some slack for its resolution."""

CHECKED: Final = ("forward", "backward", "step")

Work = Mapping[str, Counter[Group]]
"""Floating-point operations by phase."""


def work(bench: Bench) -> Work:
    """Count the matrix products and convolutions of one training step, operator by operator."""
    counter = FlopCounterMode(display=False)
    done: dict[str, Counter[Group]] = {name: Counter() for name in CHECKED}

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        before = _groups(counter)
        yield
        if name in done:
            done[name] += _groups(counter) - before

    with counter:
        bench.as_written(bench.x, bench.y, phase)
    done["step"] = _groups(counter)
    return done


def achieved(steps: Sequence[Spans], done: Work, ceiling: Ceiling) -> dict[str, Any]:
    """What the fastest sample of each phase computed per second, as facts.

    Returns:
        By phase, `achieved_flop_per_s`, `ceiling_flop_per_s` for its mixture of operators and
        `share` of the two; and `ceiling_basis`. Without a ceiling only what was achieved.

    Raises:
        TrialError: if a phase was faster than the ceiling allows.
    """
    facts: dict[str, Any] = {"achieved_flop_per_s": {}, "ceiling_basis": ceiling.basis}
    for name, groups in done.items():
        if name not in steps[0]:
            continue
        seconds, flops = min(spans[name] for spans in steps), groups.total()
        least = ceiling.least_seconds(groups)
        facts["achieved_flop_per_s"][name] = flops / seconds
        if not least:
            continue
        facts.setdefault("ceiling_flop_per_s", {})[name] = flops / least
        facts.setdefault("share", {})[name] = least / seconds
        if least > seconds:
            raise TrialError(
                f"the fastest {name} of {len(steps)} samples did {flops:.4g} FLOP in "
                f"{seconds:.4g} s, that is {flops / seconds:.4g} FLOP/s, but this device cannot do "
                f"more than {flops / least:.4g} ({ceiling.basis}): the clock was not synchronised "
                "or work was skipped. Nothing of this trial can be used; see that all work runs on "
                "the current stream and inside its phase"
            )
    return facts


def host_agrees(steps: Sequence[Spans]) -> dict[str, Any]:
    """The median of the host's seconds over the events' ones, as a fact; nothing without events.

    Raises:
        TrialError: if the host saw the step end before the events say it did.
    """
    ratios = [spans["host"] / spans["step"] for spans in steps if "host" in spans]
    if not ratios:
        return {}
    ratio = median(ratios)
    if ratio < HOST_SHARE:
        raise TrialError(
            f"the host saw a step end after {ratio:.3g} of the time that CUDA's events measured, "
            "in the median: one of the two clocks did not wait for the device. Nothing of this "
            "trial can be used; see that nothing replaces torch.cuda.synchronize"
        )
    return {"host_over_events": round(ratio, 4)}


def _groups(counter: FlopCounterMode) -> Counter[Group]:
    """So far; an operator's name tells convolutions from matrix products."""
    sums: Counter[Group] = Counter()
    for operator, flops in counter.get_flop_counts().get("Global", {}).items():
        sums["convolution" if "conv" in str(operator) else "matmul"] += flops
    return sums
