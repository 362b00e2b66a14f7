"""One trial, in a process of its own: build what the specification names, probe it, answer."""

from __future__ import annotations

import os
import platform
import re
import traceback
from collections.abc import Callable
from typing import Any, Final

import torch

import ratebp
from harness.errors import AbsentError, DataError, TrialError
from harness.outcome import Outcome
from harness.spec import TrialSpec
from harness.trial import probes
from harness.trial.bench import build
from harness.trial.memory_format import Convolutions
from harness.trial.probe import Bench, unwatched

_HOST_OOM: Final = re.compile(r"DefaultCPUAllocator|std::bad_alloc|[Cc]annot allocate memory")
_CUDA_OOM: Final = re.compile(r"CUDA.*out of memory|CU(DNN|BLAS)_STATUS_ALLOC_FAILED")
_TAIL_LINES: Final = 20


def run(
    spec: TrialSpec,
    measured: Callable[[], None] = lambda: None,
    alone: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run a trial; whatever goes wrong becomes a status.

    Args:
        spec: the cell and the probe.
        measured: called while GPU memory is at its peak, see `Bench.measured`.
        alone: called before anything that a neighbour would disturb, see `Bench.alone`.
    """
    facts: dict[str, Any] = {}
    try:
        bench = build(spec.cell, measured, alone)
        facts |= describe(bench)
        reading = probes.get(spec.probe).measure(bench)
        facts |= conduct(bench)
    except Exception as error:
        return Outcome(*judge(error), facts=facts)
    return Outcome("ok", None, reading.rows, facts | reading.facts)


def judge(error: Exception) -> tuple[str, str]:
    """Status and message of what stopped a trial.

    What cannot be had (a method that cannot train this model, a counter that this machine lacks)
    is skipped; what the user can mend is invalid; running out of memory is a result; everything
    else is a crash, told by the end of its traceback.
    """
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, (ratebp.BindError, AbsentError)):
        return "skipped", str(error)
    if isinstance(error, torch.OutOfMemoryError) or _CUDA_OOM.search(text):
        return "oom_cuda", text
    if isinstance(error, MemoryError) or _HOST_OOM.search(text):
        return "oom_host", text
    if isinstance(error, (TrialError, DataError, ratebp.OptionError)):
        return "invalid", str(error)
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return "crash", "\n".join(lines[-_TAIL_LINES:])


def conduct(bench: Bench) -> dict[str, Any]:
    """Facts on how the steps of a cell have really run, for cells that ask for something special.

    `execution`: see `Bench.ran`. `layout`: of the convolutions of one step as it is written, how
    many got their input in the layout that the cell asks for; a compiler lays out its own.
    """
    facts: dict[str, Any] = {}
    if ran := bench.ran():
        facts["execution"] = dict(ran)
    if bench.cell.memory_format == "channels_last":
        with Convolutions() as seen:
            bench.as_written(bench.x, bench.y, unwatched)
        facts["layout"] = f"channels_last into {seen.channels_last} of {seen.count} convolutions"
    return facts


def describe(bench: Bench) -> dict[str, Any]:
    """Facts of every trial: what decides its figures and is not in the cell."""
    malloc = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("MALLOC_")]
    facts = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "malloc": " ".join(malloc) or "default",
        "parameters": sum(p.numel() for p in bench.model.parameters()),
        "optimizer": type(bench.optimizer).__name__,
        "operators": bench.operators,
    }
    if bench.device.type == "cuda":
        facts |= {
            "device": torch.cuda.get_device_name(bench.device),
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cudnn_tf32": torch.backends.cudnn.allow_tf32,
            "matmul_precision": torch.get_float32_matmul_precision(),
        }
    return facts
