"""From a cell to a bench: the one place where the library under test is built and driven.

What a probe needs of the library is handed over in a `probe.Bench`; probes never import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import torch
from torch import Tensor, nn

import ratebp
from harness import data
from harness.data.base import Dataset
from harness.errors import AbsentError, TrialError
from harness.spec import Cell, Training
from harness.trial import execution, memory_format, parts, seeds
from harness.trial.exact.fakes import Fakes
from harness.trial.probe import Bench, Neuron, Phase
from ratebp import loading
from ratebp.activity import firing_rates
from ratebp.assumptions import assumptions
from ratebp.doors import Entry
from ratebp.ops.backends import backend, missing, preferred, using

COST_RATE: Final = 1e-3
"""Learning rate of the cells that measure costs: small, so that activity stays what it was."""

_DTYPES: Final = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.float32}
_Images = Callable[[str, int], Iterator[tuple[Tensor, Tensor]]]


def build(
    cell: Cell,
    measured: Callable[[], None] = lambda: None,
    alone: Callable[[], None] = lambda: None,
) -> Bench:
    """Seed everything, load the data, build model and optimiser, bind the method.

    Raises:
        DataError: if the data set is unknown, absent or smaller than a batch.
        ratebp.RatebpError: if the library refuses a name, an option, or the method for this model.
        TrialError: if the device is not there, or the cell's execution or operators cannot be had
            on it.
    """
    device = _device(cell.device)
    dataset = parts.dataset(cell)
    images = partial(_images, dataset, cell)
    updates = len(dataset.train) // cell.batch
    model = _build(parts.network(cell), cell, dataset.facts)
    bench = _bench(cell, device, model, images, updates)
    return replace(bench, measured=measured, alone=alone)


@contextmanager
def virtual(cell: Cell) -> Iterator[Bench]:
    """The bench of `build` on fake tensors, whatever its size: no data, no memory, no GPU.

    Fake tensors have shapes and no contents; they stay fake inside the context alone. "train" and
    "test" have one batch each.

    Raises:
        DataError, ratebp.RatebpError, TrialError: as `build` does on a CPU, except that no data
            files are needed.
    """
    facts, entry = parts.facts(cell), parts.network(cell)
    drawn = _DTYPES[cell.dtype]  # what is drawn in another type is converted, which fakes refuse
    real = _build(entry, cell, facts, drawn) if loading.imports(entry) else None
    with Fakes():
        model = parts.fake(_build(entry, cell, facts, drawn) if real is None else real)
        batch = torch.empty(cell.batch, *facts.shape), torch.zeros(cell.batch, dtype=torch.int64)
        only, cpu = [batch], torch.device("cpu")
        yield _bench(cell, cpu, model, lambda *_: iter(only), 1)


def usual(device: str) -> str:
    """The operators that run on a device where nobody says which."""
    return preferred(device)


def _bench(
    cell: Cell,
    device: torch.device,
    model: nn.Module,
    images: _Images,
    updates: int,
) -> Bench:
    """Build a bench around a model as it was built."""
    _check_operators(cell, device)
    model = _placed(model, cell, device)
    way = execution.of(cell, device)
    method = ratebp.methods.get(cell.method.name, **cell.method.kwargs())
    with using(cell.operators):
        ran = backend(device)
        bound = method.bind(model, cell.T, wrap=way.wrap)
    rig = _Rig(cell, device, images, model, bound, way, _optimizer(model, cell.training))
    x, y = next(rig.batches("train", 0))
    return Bench(
        cell=cell,
        device=device,
        model=model,
        optimizer=rig.optimizer,
        x=x,
        y=y,
        neurons=_neurons(model),
        train_step=rig.train_step,
        plain_forward=lambda: rig.plain_forward(x),
        gradient=rig.gradient,
        rates=rig.rates,
        assumptions=rig.assumptions,
        infer=rig.infer,
        batches=rig.batches,
        updates_per_epoch=updates,
        as_written=rig.as_written,
        operators=ran,
        phases=way.phases,
        uncounted=way.uncounted,
        ran=way.facts,
    )


def _check_operators(cell: Cell, device: torch.device) -> None:
    if why := missing(cell.operators, device.type):
        raise AbsentError(
            f"operators {cell.operators!r} cannot run on {device.type!r}: {why}; nothing else was "
            "run in their stead. Legal everywhere: operators = 'torch', or 'auto' for what this "
            "machine has"
        )


@dataclass(frozen=True)
class _Rig:
    """The parts of a bench at work; its methods are those of `Bench`."""

    cell: Cell
    device: torch.device
    images: _Images
    model: nn.Module
    bound: ratebp.Bound
    way: execution.Execution
    optimizer: torch.optim.Optimizer

    def train_step(self, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        with self.way.refusing():
            return self.way.step(self._step, x, y, phase)

    def as_written(self, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        with self.way.suspended():
            return self._step(x, y, phase)

    def _step(self, x: Tensor, y: Tensor, phase: Phase) -> Tensor:
        context = _Context(phase, self.optimizer)
        with self._as_asked():
            result = self.bound.step(x, y, context=context)
        if self.bound.method.info.updates == "batch":
            context.update()
        return result.loss

    def plain_forward(self, x: Tensor) -> Tensor:
        with self.way.refusing(), self._as_asked():
            return self.bound.plain(x)  # type: ignore[no-any-return]

    def gradient(self, method: str | None, x: Tensor, y: Tensor) -> Tensor:
        bound = self.bound
        with self.way.refusing(), self._as_asked():
            if method is not None:
                with _absent():
                    bound = ratebp.methods.get(method).bind(self.model, self.cell.T)
            return bound.step(x, y, context=_NoUpdate()).loss

    def rates(self, x: Tensor) -> Mapping[str, Tensor]:
        with self._as_asked():
            return firing_rates(self.model, x, layout=self.bound.method.info.layout)

    def assumptions(self, x: Tensor, y: Tensor) -> Mapping[str, Mapping[str, float | str]]:
        with self._as_asked(), _absent():
            return assumptions(self.model, x, y)

    def infer(self, x: Tensor) -> Tensor:
        with self._as_asked():
            return self.bound.infer(x)  # type: ignore[no-any-return]

    def batches(self, split: str, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        dtype = _DTYPES[self.cell.dtype]
        for image, label in self.images(split, epoch):
            placed = memory_format.images(image.to(self.device, dtype), self.cell.memory_format)
            yield ratebp.direct(placed, self.cell.T), label.to(self.device)

    @contextmanager
    def _as_asked(self) -> Iterator[None]:
        """Run what is inside in the precision and with the operators of the cell."""
        reduced = self.cell.dtype == "bfloat16"
        autocast = torch.autocast(self.device.type, torch.bfloat16) if reduced else nullcontext()
        with using(self.cell.operators), autocast:
            yield


@contextmanager
def _absent() -> Iterator[None]:
    """Raise `AbsentError` where a method other than the cell's cannot train the network."""
    try:
        yield
    except ratebp.BindError as refusal:
        raise AbsentError(str(refusal)) from refusal


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


class _NoUpdate(ratebp.StepContext):
    """Keeps the weights: the gradients of a method that would update at every step add up."""

    def update(self) -> None:
        """Do nothing."""


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise TrialError("the cell asks for device 'cuda', and torch sees none; legal here: cpu")
    return torch.device(name)


def _images(
    dataset: Dataset, cell: Cell, split: str, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    train = split == "train"
    return dataset.batches(split, cell.batch, seed=cell.seed, epoch=epoch, drop_last=train)


def _build(
    entry: Entry, cell: Cell, facts: data.Facts, drawn: torch.dtype = torch.float32
) -> nn.Module:
    """Build the network with the weights of the cell's seed."""
    seeds.settle(cell.seed)
    return parts.build(entry, cell, facts, drawn).train()


def _placed(model: nn.Module, cell: Cell, device: torch.device) -> nn.Module:
    """The model in the memory format, on the device and in the type of the cell."""
    memory_format.arrange(model, cell.memory_format)
    dtype = _DTYPES[cell.dtype]
    kinds = {tensor.dtype for tensor in model.parameters()}
    if device.type != "cpu" or kinds - {dtype}:  # `to` refuses fakes
        model = model.to(device, dtype)
    memory_format.refuse_unsafe(model, cell.memory_format)
    return model


def _neurons(model: nn.Module) -> tuple[Neuron, ...]:
    found = [
        (path, part.dynamics)
        for path, part in model.named_modules()
        if isinstance(part, ratebp.LIF)
    ]
    return tuple(Neuron(path, d.decay, d.threshold, d.reset) for path, d in found)


def _optimizer(model: nn.Module, budget: Training | None) -> torch.optim.Optimizer:
    params = model.parameters()
    if budget is None:
        return torch.optim.SGD(params, lr=COST_RATE, momentum=0.9)
    decay = budget.weight_decay
    if budget.optimizer == "adam":
        return torch.optim.Adam(params, lr=budget.lr, weight_decay=decay)
    return torch.optim.SGD(params, lr=budget.lr, momentum=budget.momentum, weight_decay=decay)
