"""What an import's proof says: a row for each neuron, printed as a table."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from ratebp.importers.layers import Gain
from ratebp.neurons import LIF, PLIF, Neuron, UndecayedLIF


@dataclass(frozen=True)
class NeuronProof:
    """One neuron's proof.

    Attributes:
        path: in both models.
        source: its settings there.
        neuron: what stands for it.
        alone: share of equal spikes on drawn currents.
        gradient: largest difference of that run's gradients, relative to the largest gradient.
        cells: spikes that were compared on the probe batch; all are equal, as they are and driven.
        rate: spikes per cell on the probe batch.
        driven_rate: spikes per cell where the current has the scale of the threshold.
    """

    path: str
    source: str
    neuron: str
    alone: float
    gradient: float
    cells: int
    rate: float
    driven_rate: float


@dataclass(frozen=True)
class Proof:
    """What was compared.

    Attributes:
        source: class of the model and the package it is written for.
        probe: shape of the probe batch, ``[T, B, ...]``.
        rows: one a neuron, in the order of calls.
        outputs: largest difference of the outputs.
        notes: what a reader must know besides.
    """

    source: str
    probe: tuple[int, ...]
    rows: tuple[NeuronProof, ...]
    outputs: float
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return a table: one line a neuron."""
        head = ("neuron", "source", "ratebp", "equal", "cells", "rate", "rate driven")
        body = [
            [r.path, r.source, r.neuron, f"{r.alone:.0%}", f"{r.cells}", *_shown(r)]
            for r in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
            for line in (head, *body)
        ]
        title = f"{self.source}, probe {[*self.probe]}: outputs differ by {self.outputs:.1e}"
        return "\n".join([title, *lines, *(f"note: {note}" for note in self.notes)])


def _shown(row: NeuronProof) -> list[str]:
    return [f"{row.rate:.4f}", f"{row.driven_rate:.4f}"]


def brief(module: nn.Module) -> str:
    """Return class and constants of the neuron in `module`, in few words."""
    neuron = next(each for each in module.modules() if isinstance(each, Neuron))
    if isinstance(neuron, LIF):
        d, decay = neuron.dynamics, f"decay={neuron.dynamics.decay:.4g}, "
    elif isinstance(neuron, PLIF):
        d, decay = neuron.undecayed, ""
    elif isinstance(neuron, UndecayedLIF):
        d, decay = neuron.charging, f"decay={neuron.charging.decay:.4g}, "
    else:
        return repr(neuron)
    gains = [each.factor for each in module.modules() if isinstance(each, Gain)]
    gain = "".join(f"{factor:.4g} * " for factor in gains)
    surrogate = f"{d.surrogate.name} {d.surrogate.alpha:.4g}"
    reset = "undecayed" if isinstance(neuron, UndecayedLIF) else d.reset
    name, detached = type(neuron).__name__, "detached" if d.detach_reset else "attached"
    return f"{gain}{name}({decay}threshold={d.threshold:.4g}, {reset}, {detached}, {surrogate})"
