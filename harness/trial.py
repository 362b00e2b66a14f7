"""One trial, in a process of its own: build what the specification names, probe it, answer.

The only module of the harness that imports the library. Everything a probe needs of it is handed
over in a `harness.probe.Bench`.
"""

from __future__ import annotations

import os
import platform
import random
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

import ratebp
from harness import data, probes
from harness.data.base import Dataset
from harness.errors import DataError, TrialError
from harness.probe import Bench, Phase
from harness.rows import Row
from harness.spec import Cell, Training, TrialSpec

COST_RATE: Final = 1e-3
"""Learning rate of the cells that measure costs: small, so that activity stays what it was."""

_DTYPES: Final = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
_HOST_OOM: Final = re.compile(r"DefaultCPUAllocator|std::bad_alloc|[Cc]annot allocate memory")
_CUDA_OOM: Final = re.compile(r"CUDA.*out of memory|CU(DNN|BLAS)_STATUS_ALLOC_FAILED")
_TAIL_LINES: Final = 20


@dataclass(frozen=True)
class Answer:
    """What the worker hands back: one of `harness.rows.STATUSES`, why, and the figures."""

    status: str
    error: str | None
    rows: tuple[Row, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {
            "status": self.status,
            "error": self.error,
            "rows": [row.to_json() for row in self.rows],
            "facts": self.facts,
        }


def run(spec: TrialSpec, measured: Callable[[], None] = lambda: None) -> Answer:
    """Run a trial; whatever goes wrong becomes a status.

    Parameters
    ----------
    spec:
        The cell and the probe.
    measured:
        Called while GPU memory is at its peak, see `Bench.measured`.
    """
    facts: dict[str, Any] = {}
    try:
        bench = build(spec.cell, measured)
        facts |= describe(bench)
        reading = probes.get(spec.probe).measure(bench)
    except Exception as error:
        return Answer(*judge(error), facts=facts)
    return Answer("ok", None, reading.rows, facts | reading.facts)


def judge(error: Exception) -> tuple[str, str]:
    """Status and message of what stopped a trial.

    A method that cannot train a model is skipped; what the user can mend is invalid; running out
    of memory is a result; everything else is a crash, told by the end of its traceback.
    """
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ratebp.BindError):
        return "skipped", str(error)
    if isinstance(error, (TrialError, DataError, ratebp.OptionError)):
        return "invalid", str(error)
    if isinstance(error, torch.OutOfMemoryError) or _CUDA_OOM.search(text):
        return "oom_cuda", text
    if isinstance(error, MemoryError) or _HOST_OOM.search(text):
        return "oom_host", text
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return "crash", "\n".join(lines[-_TAIL_LINES:])


def build(cell: Cell, measured: Callable[[], None] = lambda: None) -> Bench:
    """Seed everything, load the data, build model and optimiser, bind the method.

    Raises
    ------
    DataError
        If the data set is unknown, absent or smaller than a batch.
    ratebp.RatebpError
        If the library refuses a name, an option, or the method for this model.
    TrialError
        If the device is not there.
    """
    device = _device(cell.device)
    _seed(cell.seed)
    torch.set_num_threads(1)
    dataset = data.load(cell.data)
    model = _model(cell, dataset).to(device, _DTYPES[cell.dtype]).train()
    bound = ratebp.methods.get(cell.method.name, **cell.method.kwargs()).bind(model, cell.T)
    optimizer = _optimizer(model, cell.training)
    rig = _Rig(cell, device, dataset, model, bound, optimizer)
    x, y = next(rig.batches("train", 0))
    return Bench(
        cell=cell,
        device=device,
        model=model,
        optimizer=optimizer,
        x=x,
        y=y,
        train_step=rig.train_step,
        plain_forward=lambda: rig.plain_forward(x),
        infer=rig.infer,
        batches=rig.batches,
        updates_per_epoch=len(dataset.train) // cell.batch,
        measured=measured,
    )


@dataclass(frozen=True)
class _Rig:
    """The parts of a bench at work; its methods are those of `Bench`."""

    cell: Cell
    device: torch.device
    dataset: Dataset
    model: nn.Module
    bound: ratebp.Bound
    optimizer: torch.optim.Optimizer

    def train_step(self, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        context = _Context(phase, self.optimizer)
        with self._autocast():
            result = self.bound.step(x, y, context=context)
        if self.bound.method.info.updates == "batch":
            context.update()
        return result.loss

    def plain_forward(self, x: Tensor) -> Tensor:
        with self._autocast():
            return self.bound.plain(x)

    def infer(self, x: Tensor) -> Tensor:
        with self._autocast():
            return ratebp.infer(self.model, x)

    def batches(self, split: str, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        cell, dtype = self.cell, _DTYPES[self.cell.dtype]
        for image, label in self.dataset.batches(
            split, cell.batch, seed=cell.seed, epoch=epoch, drop_last=split == "train"
        ):
            yield ratebp.direct(image.to(self.device, dtype), cell.T), label.to(self.device)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.cell.dtype == "bfloat16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()


def describe(bench: Bench) -> dict[str, Any]:
    """Facts of every trial: what decides its figures and is not in the cell."""
    on_gpu = bench.device.type == "cuda"
    malloc = [f"{k}={v}" for k, v in sorted(os.environ.items()) if k.startswith("MALLOC_")]
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(bench.device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "malloc": " ".join(malloc) or "default",
        "parameters": sum(p.numel() for p in bench.model.parameters()),
        "optimizer": type(bench.optimizer).__name__,
    }


class _Context(ratebp.StepContext):
    """Hands the phases of a method's schedule to a probe, and the update as one more."""

    def __init__(self, phase: Phase, optimizer: torch.optim.Optimizer) -> None:
        super().__init__(optimizer)
        self._phase = phase
        self._apply = optimizer

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Enter the probe's phase `name`."""
        with self._phase(name):
            yield

    def update(self) -> None:
        """Apply the gradients and zero them in place, so that they stay persistent."""
        with self._phase("update"):
            self._apply.step()
            self._apply.zero_grad(set_to_none=False)


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise TrialError("the cell asks for device 'cuda', and torch sees none; legal here: cpu")
    return torch.device(name)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _model(cell: Cell, dataset: Dataset) -> nn.Module:
    facts = dataset.facts
    sizes = {"num_classes": facts.num_classes, "in_channels": facts.shape[0]}
    return ratebp.models.build(cell.model.name, **sizes | cell.model.kwargs())


def _optimizer(model: nn.Module, budget: Training | None) -> torch.optim.Optimizer:
    params = model.parameters()
    if budget is None:
        return torch.optim.SGD(params, lr=COST_RATE, momentum=0.9)
    decay = budget.weight_decay
    if budget.optimizer == "adam":
        return torch.optim.Adam(params, lr=budget.lr, weight_decay=decay)
    return torch.optim.SGD(params, lr=budget.lr, momentum=budget.momentum, weight_decay=decay)
