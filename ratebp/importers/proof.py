"""The proof of an import: the spikes of every neuron against the source's, and nothing less.

All runs are in float64 on copies, so that nothing of the source changes. Each neuron by itself on
drawn currents shows its settings, the gradient included. The whole network on a probe batch shows
what lies between neurons: once as it is, and once *driven*, with the current of each neuron brought
to the scale of its threshold on both sides, since a neuron that is silent shows nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.errors import BindError, InputError
from ratebp.importers.pair import Pair, Stepper
from ratebp.importers.refusals import ATOL, RTOL, network_differs, other_shape, refuse_other_neuron
from ratebp.importers.report import NeuronProof, Proof, brief
from ratebp.importers.tree import apart
from ratebp.roles import Role
from ratebp.rules.neurons.exact import step_neuron
from ratebp.views import view

STEPS, COLUMNS, SCALES, SEED = 8, 64, 16, 0


@dataclass
class _Drive:
    """Brings the current of each neuron to the scale of its threshold, on both sides alike.

    The shift and factor of a neuron are set by the first current that the source's neuron gets.
    """

    on: bool
    known: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def hook(self, pair: Pair, *, sets: bool) -> Callable[[nn.Module, Any], Any]:
        def change(module: nn.Module, inputs: Any) -> Any:
            if not self.on:
                return None
            current, *others = inputs
            if sets and pair.path not in self.known:
                deviation = current.std().clamp(min=ATOL)
                self.known[pair.path] = (current.mean(), pair.scale / deviation)
            if pair.path not in self.known:
                return None
            mean, factor = self.known[pair.path]
            return ((current - mean) * factor + 0.3 * pair.scale, *others)

        return change


def alone(pair: Pair) -> tuple[float, float]:
    """Run a neuron by itself on drawn currents, here and in the source.

    Returns:
        The share of equal spikes, and the largest difference of the gradients by the currents,
        relative to the largest.
    """
    currents = _currents(pair.scale)
    theirs, other_slopes = _driven(pair.alone(), currents)
    net = view(copy.deepcopy(pair.module).double().cpu(), {Role.NEURON: _stepper})
    with net.sequence():
        ours, slopes = _driven(net, currents)
    share = float((ours == theirs).double().mean())
    scale = max(float(other_slopes.abs().max()), float(slopes.abs().max()), ATOL)
    return share, float((slopes - other_slopes).abs().max()) / scale


def _stepper(neuron: nn.Module, path: str) -> nn.Module:
    return step_neuron(neuron)


def _currents(scale: float) -> Tensor:
    """Draw currents of many scales around the threshold, ``[STEPS, COLUMNS, SCALES]``."""
    made = torch.Generator().manual_seed(SEED)
    drawn = torch.randn(STEPS, COLUMNS, SCALES, generator=made, dtype=torch.float64)
    scales = scale * 2.0 ** torch.linspace(-2, 4, SCALES, dtype=torch.float64)
    return (drawn + 0.5) * scales


def _driven(step: Stepper, currents: Tensor) -> tuple[Tensor, Tensor]:
    """Return the spikes and the gradient of a weighted sum of them by the currents."""
    x = currents.clone().requires_grad_()
    spikes = torch.stack([step(now) for now in x.unbind(0)])
    weights = torch.linspace(0.5, 1.5, spikes.numel(), dtype=spikes.dtype).view_as(spikes)
    if not spikes.requires_grad:
        return spikes.detach(), torch.zeros_like(x)
    (slopes,) = torch.autograd.grad((spikes * weights).sum(), x)
    return spikes.detach(), slopes


@dataclass(frozen=True)
class _Outputs:
    """What one run gave, by path: spikes and, of ours, currents ``[T, B, ...]``; the output."""

    spikes: dict[str, Tensor]
    currents: dict[str, Tensor]
    output: Tensor


def prove(
    source: nn.Module,
    made: nn.Module,
    pairs: Sequence[Pair],
    run: Callable[[nn.Module, Tensor], Tensor],
    x: Tensor,
    title: str,
    notes: Sequence[str] = (),
) -> Proof:
    """Compare the spikes of every neuron, and refuse what is not equal.

    Args:
        source: as it was given; it stays as it is.
        made: the model of ours.
        pairs: their neurons.
        run: runs a copy of the source from rest on ``x``; returns its outputs, summed over time.
        x: the probe batch ``[T, B, ...]``, float64.
        title: what the source is.
        notes: for the table.

    Raises:
        BindError: naming the first layer that differs, and what causes it.
    """
    lone = {pair.path: alone(pair) for pair in pairs}
    for pair in pairs:
        refuse_other_neuron(pair, *lone[pair.path])
    by_path = {pair.path: pair for pair in pairs}
    found, gaps = [], []
    for drive in (_Drive(False), _Drive(True)):
        found.append(_run_source(source, pairs, run, x, drive))
        gaps.append(_compare(by_path, found[-1], _run_made(made, pairs, x, drive)))
    plain, driven = (each.spikes for each in found)
    rows = [
        NeuronProof(
            path,
            by_path[path].source,
            brief(by_path[path].module),
            *lone[path],
            cells=spikes.numel(),
            rate=float(spikes.mean()),
            driven_rate=float(driven[path].mean()),
        )
        for path, spikes in plain.items()
    ]
    uncalled = [pair.path for pair in pairs if pair.path not in plain]
    more = [f"never called: {', '.join(uncalled)}"] if uncalled else []
    return Proof(title, (*x.shape,), tuple(rows), max(gaps), (*notes, *more))


def _compare(pairs: dict[str, Pair], theirs: _Outputs, ours: _Outputs) -> float:
    """Refuse the first spikes that differ, in the order of calls; return the outputs' difference.

    Raises:
        BindError: for spikes, or outputs, that are not equal.
    """
    for path, spikes in theirs.spikes.items():
        found = ours.spikes.get(path)
        if found is None or found.shape != spikes.shape:
            raise BindError(other_shape(pairs[path], spikes, found))
        if not torch.equal(spikes, found):
            raise network_differs(pairs[path], spikes, found, ours.currents[path])
    a, b = theirs.output, ours.output
    if a.shape != b.shape:
        raise BindError(
            f"all spikes are equal, but the source's output is {[*a.shape]} and that of the "
            f"imported model {[*b.shape]}. {_OUTPUT}"
        )
    gap = float((a - b).abs().max())
    if gap > RTOL * max(1.0, float(a.abs().max())):
        raise BindError(
            f"all spikes are equal, but the outputs differ by {gap:.3g}: what the source does "
            f"behind its last neuron is not what the imported model does. {_OUTPUT}"
        )
    return gap


_OUTPUT = (
    "Return the outputs of the time steps [T, B, K], or their mean or sum over time, as it is."
)


def _run_source(
    source: nn.Module,
    pairs: Sequence[Pair],
    run: Callable[[nn.Module, Tensor], Tensor],
    x: Tensor,
    drive: _Drive,
) -> _Outputs:
    net = apart(source).eval()
    found: dict[str, list[Tensor]] = {}
    modules = dict(net.named_modules())
    for pair in pairs:

        def keep(module: nn.Module, inputs: Any, out: Any, pair: Pair = pair) -> Any:
            wide = in_float64(out)
            found.setdefault(pair.path, []).extend(pair.steps(wide))
            return wide

        modules[pair.path].register_forward_pre_hook(drive.hook(pair, sets=True))
        modules[pair.path].register_forward_hook(keep)
    try:
        with torch.no_grad():
            output = run(net, x)
    except Exception as error:
        raise InputError(
            f"the source {type(source).__name__} does not run on the probe batch {[*x.shape]} "
            f"({type(error).__name__}: {error}). Give a probe batch x=[T, B, ...] that it takes, "
            "time steps first."
        ) from error
    return _Outputs(_stacked(found), {}, output)


def in_float64(out: Any) -> Any:
    """Return what a neuron gave, in float64; some spike functions give float32 of it."""
    return tuple(map(in_float64, out)) if isinstance(out, tuple) else out.double()


def _run_made(made: nn.Module, pairs: Sequence[Pair], x: Tensor, drive: _Drive) -> _Outputs:
    net = view(apart(made), {Role.NEURON: _stepper}, builds_graph=False)
    spikes: dict[str, list[Tensor]] = {}
    currents: dict[str, list[Tensor]] = {}
    modules = dict(net.module.eval().named_modules())
    for pair in pairs:

        def keep(module: nn.Module, inputs: Any, out: Tensor, pair: Pair = pair) -> None:
            spikes.setdefault(pair.path, []).append(out)
            currents.setdefault(pair.path, []).append(inputs[0])

        modules[pair.path].register_forward_pre_hook(drive.hook(pair, sets=False))
        modules[pair.path].register_forward_hook(keep)
    try:
        with torch.no_grad(), net.sequence():
            output = torch.stack([net(now) for now in x.unbind(0)]).sum(0)
    except Exception as error:
        raise BindError(
            f"the imported {type(made).__name__} does not run for one time step {[*x.shape[1:]]} "
            f"({type(error).__name__}: {error}). Let the forward treat the time axis as the "
            "package's own layers do, or write it for one time step."
        ) from error
    return _Outputs(_stacked(spikes), _stacked(currents), output)


def _stacked(kept: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    return {path: torch.stack(each) for path, each in kept.items()}
