"""The two sides of a comparison, and ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.trial.probe import Bench
from ratebp.activity import buffers_kept
from ratebp.roles import Role
from ratebp.rules.neurons.exact import scan_neuron, step_neuron
from ratebp.rules.norms.temporal import norm_rule
from ratebp.schedules import layer_by_layer, step_by_step
from ratebp.views import Leaf, Rule, view
from ratebp.wiring import trace


@dataclass(frozen=True)
class Side:
    """One implementation of a training step, built and ready.

    Attributes:
        label: name and version, for people.
        model: its parameters and buffers stand in the order of the other side's.
        optimizer: of `model`.
        data: the tensors of the batch, which outlive a step.
        gradient: add one step's gradient to `.grad`; return the loss, detached.
        spikes: by layer, in the order of the forward: the spikes ``[T * B, ...]`` of the batch.
    """

    label: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    data: Sequence[Tensor]
    gradient: Callable[[], Tensor]
    spikes: Callable[[], Mapping[str, Tensor]]

    def step(self) -> None:
        """Take a whole training step: gradient, update, gradients zeroed in place."""
        self.gradient()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)

    def persistent(self) -> Iterator[Tensor]:
        """What outlives a step."""
        yield from (*self.model.parameters(), *self.model.buffers(), *self.data)
        yield from (p.grad for p in self.model.parameters() if p.grad is not None)
        for state in self.optimizer.state.values():
            yield from (value for value in state.values() if isinstance(value, Tensor))


def ours(bench: Bench) -> Side:
    """The library's side of a cell."""
    return Side(
        label=f"ratebp {bench.cell.method.label}",
        model=bench.model,
        optimizer=bench.optimizer,
        data=(bench.x, bench.y),
        gradient=lambda: bench.gradient(None, bench.x, bench.y),
        spikes=lambda: _spikes(bench),
    )


def is_single(bench: Bench) -> bool:
    """Does the method run step by step, with batch statistics of each step?"""
    return bench.cell.method.name.endswith("_s")


class _Recorder(Leaf):
    """Runs a neuron exactly and keeps its spikes."""

    stateful = True

    def __init__(self, leaf: Leaf, spikes: list[Tensor]) -> None:
        super().__init__()
        self.leaf = leaf
        self.spikes = spikes

    def forward(self, current: Tensor) -> Tensor:
        out: Tensor = self.leaf(current)
        self.spikes.append(out)
        return out


def _spikes(bench: Bench) -> dict[str, Tensor]:
    T, single, found = bench.cell.T, is_single(bench), dict[str, list[Tensor]]()

    def recorder(neuron: nn.Module, path: str) -> nn.Module:
        leaf = step_neuron(neuron) if single else scan_neuron(neuron, T)
        return _Recorder(leaf, found.setdefault(path, []))

    rules: dict[Role, Rule] = {
        Role.NEURON: recorder,
        Role.NORM: norm_rule("single" if single else "multi", T),
    }
    watched = view(bench.model, rules, wiring=trace(bench.model), builds_graph=False)
    with torch.no_grad(), buffers_kept(bench.model):
        (step_by_step if single else layer_by_layer)(watched, bench.x)
    return {path: torch.cat(parts) for path, parts in found.items()}


def copy_weights(source: nn.Module, target: nn.Module, place: str) -> None:
    """Give `target` the parameters and buffers of `source`, which stand in the same order.

    Raises:
        HarnessError: where the two are not the same network.
    """
    have, want = list(source.state_dict().items()), list(target.state_dict().items())
    if len(have) != len(want):
        raise HarnessError(
            f"{place} has {len(want)} parameters and buffers, ours {len(have)}: not the same "
            "network. The adapter is written for the version that its docstring names."
        )
    with torch.no_grad():
        for (ours_name, a), (their_name, b) in zip(have, want, strict=True):
            if a.shape != b.shape:
                raise HarnessError(
                    f"{place}: {their_name} is {tuple(b.shape)}, our {ours_name} is "
                    f"{tuple(a.shape)}: not the same network."
                )
            b.copy_(a)


def watched(
    neurons: Sequence[nn.Module],
    run: Callable[[], object],
    rows: int,
    fold: Callable[[Tensor], Tensor],
) -> list[Tensor]:
    """Run a step and return what each of `neurons` put out, ``[rows, ...]``, in calling order.

    Args:
        neurons: modules whose output is kept.
        run: the step.
        rows: T * B; what a module puts out beyond it (the rates of a second pass) is left out.
        fold: makes an output's first dimension one of time and batch.
    """
    found: dict[int, list[Tensor]] = {}

    def keep(module: nn.Module, args: object, out: Tensor) -> None:
        parts = found.setdefault(id(module), [])
        if sum(map(len, parts)) < rows:
            parts.append(fold(out.detach().clone()))

    handles = [neuron.register_forward_hook(keep) for neuron in neurons]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return [torch.cat(parts) for parts in found.values()]
