"""Leaves of exact training that share what they keep for the backward.

In the readable version a convolution keeps its input spikes, a batch norm its input and a neuron
its potential: three floats a neuron and time step. Here

- the norm keeps ``xhat``, from which its backward follows;
- the neuron keeps nothing: its input is ``weight * xhat + bias``, plus, at the end of a residual
  block, spikes or another such term, and potentials follow from the input;
- spikes are kept once, at one bit each, for all synapses and neurons that take them; sums of them
  at one byte each.

Who shares with whom is read from the wiring (`rules`). For inputs narrower than the norm's
parameters (autocast), and in graphs of torch.compile, whose partitioner decides what is kept,
leaves keep what they need themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ratebp.graph import Moves
from ratebp.neurons import LIF
from ratebp.ops import (
    Normalised,
    Past,
    Term,
    affine,
    backend,
    every_step,
    lif_scan_of,
    lif_step_of,
    norm_replay,
)
from ratebp.rules.handover import Handover, unread
from ratebp.rules.neurons.lif import ScanLIF, StepLIF
from ratebp.rules.norms.batch_norm import BATCH_NORMS, by_module, normalised
from ratebp.rules.norms.inputs import uses_batch
from ratebp.rules.sharing.synapses import show
from ratebp.views import Leaf

STRETCH = 8
"""Time steps whose potentials a step's backward may have to make anew.

The recomputation of a step's potential starts from one that is kept every so many steps: fewer
would keep more, more would cost more element-wise work. Up to this T none is kept.
"""


class SharingNorm(Leaf):
    """A batch norm that keeps ``xhat`` and hands it to the neurons behind."""

    stateful = True
    takes_one_step = True

    def __init__(
        self,
        norm: nn.Module,
        readers: Sequence[Handover],
        *,
        follows: bool = True,
        added_norms: Sequence[_BatchNorm] | None = None,
    ) -> None:
        """Share records.

        Args:
            norm: one of `BATCH_NORMS`.
            readers: of the neurons that take the output.
            follows: whether the running statistics follow; False in a recomputation.
            added_norms: the norms whose outputs are added to this one's, where only `readers` take
                the sum and their kernels compute it themselves; None if anything reads the value.
        """
        super().__init__()
        assert isinstance(norm, BATCH_NORMS)
        self.norm = norm
        self.readers = readers
        self.follows = follows
        self.added_norms = added_norms

    def forward(self, c: Tensor) -> Tensor:
        """Return the norm's output for ``[B, C, ...]``, or all steps folded ``[T*B, C, ...]``.

        The value does not depend on whether there is a graph, so that a recomputation gives the
        same to the bit.
        """
        norm = self.norm
        whole = uses_batch(norm)
        if not whole or c.dtype.itemsize < 4 or torch.compiler.is_compiling():
            return by_module(norm, c, follows=self.follows)
        with torch.no_grad():
            xhat, _, inv_std = normalised(norm, c.detach(), None, None, follows=self.follows)
        if not torch.is_grad_enabled():
            return affine(xhat, norm.weight, norm.bias)
        for each in self.readers:
            each.put(Normalised(xhat, norm.weight, norm.bias))
        value = None if self._is_read(c) else unread(c)
        return norm_replay(c, norm.weight, norm.bias, xhat, inv_std, value=value)

    def _is_read(self, c: Tensor) -> bool:
        # Torch's operators read the sum that the model's forward computes. So does a neuron if one
        # of the added norms shares nothing.
        alone = self.added_norms is not None and all(uses_batch(each) for each in self.added_norms)
        return not alone or backend(c.device) == "torch"


class SharingLIF(ScanLIF):
    """A LIF whose backward recomputes the current from what the leaves before it keep."""

    stateful = True

    def __init__(
        self,
        lif: LIF,
        timesteps: int,
        terms: Sequence[Handover],
        readers: Sequence[Handover],
        moves: Moves | None = None,
    ) -> None:
        """Share records.

        Args:
            lif: the layer.
            timesteps: T.
            terms: of the leaves whose outputs add up to the current; empty if they are not known.
            readers: of the leaves that keep these spikes as bits.
            moves: between the one term and the neuron, which runs in front of them.
        """
        super().__init__(lif, timesteps)
        self.terms = terms
        self.readers = readers
        self.moves = moves

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        terms = tuple(term for each in self.terms for term in each.take())
        if self.moves is not None:
            current = self.moves.back(current)
        if terms and len(terms) == len(self.terms) and torch.is_grad_enabled():
            steps = every_step(self.steps(current), self.timesteps)
            spikes = lif_scan_of(steps, self.dynamics, terms).flatten(0, 1)
        else:
            spikes = super().forward(current)
        if self.moves is not None:
            spikes = self.moves.there(spikes)
        show(spikes, self.readers)
        return spikes


class SharingStepLIF(StepLIF):
    """A LIF of single steps whose backward recomputes the current from what leaves before keep.

    It keeps its potential every `STRETCH` steps, where a recomputation begins, and at each step for
    which the leaves before share nothing.
    """

    def __init__(
        self,
        lif: LIF,
        timesteps: int | None,
        terms: Sequence[Handover],
        readers: Sequence[Handover],
        moves: Moves | None = None,
    ) -> None:
        """Share records.

        Args:
            lif: the layer.
            timesteps: T, after which the potential is dropped; None if it must stay.
            terms: of the leaves whose outputs add up to the current; empty if they are not known.
            readers: of the leaves that keep these spikes as bits.
            moves: between the one term and the neuron, which runs in front of them.
        """
        super().__init__(lif)
        self.moves = moves
        self.timesteps = timesteps
        self.terms = terms
        self.readers = readers
        self.past: Past | None = None
        self.step = 0

    def forward(self, current: Tensor) -> Tensor:
        """Return the spikes of this step, shape of `current`."""
        if torch.compiler.is_compiling():  # nothing is shared; counted steps compile one by one
            return super().forward(current)
        if self.moves is not None:
            current = self.moves.back(current)
        terms = tuple(term for each in self.terms for term in each.take())
        shared = terms and len(terms) == len(self.terms) and torch.is_grad_enabled()
        if shared:
            spikes = self._shared(current, terms)
        else:
            self.past = None
            spikes = super().forward(current)
        if self.moves is not None:
            spikes = self.moves.there(spikes)
        show(spikes, self.readers)
        self.step += 1
        if self.step == self.timesteps:
            self.potential = self.past = None
        return spikes

    def _shared(self, current: Tensor, terms: tuple[Term, ...]) -> Tensor:
        if self.past is None or len(self.past.currents) == STRETCH:
            self.past = Past(self.potential)
        past = self.past.then(terms)
        # Below all that is trained no backward comes, and nothing is kept for one.
        self.past = past if current.requires_grad else None
        spikes, self.potential = lif_step_of(current, self.potential, self.dynamics, past)
        return spikes

    def reset(self) -> None:
        """Go back to rest."""
        super().reset()
        self.past = None
        self.step = 0

    def detach(self) -> None:
        """Cut the graph to earlier time steps."""
        super().detach()
        self.past = None


class ShowingNeuron(Leaf):
    """Any neuron; it hands its spikes, packed to bits, to the synapses behind."""

    stateful = True
    takes_one_step = True

    def __init__(self, neuron: Leaf, readers: Sequence[Handover]) -> None:
        """Share `readers` with the synapses that keep these spikes as bits."""
        super().__init__()
        self.leaf = neuron
        self.readers = readers

    def forward(self, current: Tensor) -> Tensor:
        """Return the neuron's spikes."""
        spikes: Tensor = self.leaf(current)
        show(spikes, self.readers)
        return spikes
