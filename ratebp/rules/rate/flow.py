"""Which leaf reads which value in rate-based methods, derived from the wiring."""

from __future__ import annotations

from torch import nn

from ratebp.ops import geometry_of
from ratebp.roles import Role, role_of
from ratebp.wiring import Wiring


class RateFlow:
    """Answers which leaves read a leaf's value in the spike pass and in the rate pass, by path."""

    def __init__(self, model: nn.Module, wiring: Wiring) -> None:
        """Note the roles of the leaves of `model`."""
        self._wiring = wiring
        self._modules = dict(model.named_modules())

    def _is(self, path: str, *roles: Role) -> bool:
        return role_of(self._modules[path]) in roles

    def _linear(self, path: str) -> bool:
        known = self._is(path, Role.SYNAPSE)
        return known and geometry_of(self._modules[path]) is not None

    def _sources(self, path: str) -> tuple[str, ...]:
        return self._wiring.sources.get(path, ())

    def readers(self, path: str) -> frozenset[str]:
        """Return the known readers of leaf `path`."""
        return self._wiring.readers.get(path, frozenset())

    def owned(self, path: str) -> bool:
        """Return whether the input of norm `path` is the output of one synapse with no other
        reader.
        """
        sources = self._sources(path)
        lone = len(sources) == 1 and self._linear(sources[0])
        return lone and self.readers(sources[0]) == {path}

    def remakable(self, path: str) -> bool:
        """Return whether norm `path` can recompute its input from what one synapse keeps.

        The norm's own value must have no reader, and the synapse must hold the mean of its input
        over time. It does so only where everything before it commutes with the mean: the maximum,
        or the product, of means is not the mean of the spike pass.
        """
        through = any(synapse in self._wiring.means for synapse in self._sources(path))
        return self.owned(path) and self.unread(path) and through

    def counted(self, path: str) -> bool:
        """Return whether `path` is a synapse whose input is the spikes of one neuron and nothing
        else.
        """
        sources = self._sources(path)
        lone = self._linear(path) and len(sources) == 1
        return lone and sources[0] in self._wiring.readers and self._is(sources[0], Role.NEURON)

    def narrow(self, path: str) -> bool:
        """Return whether only synapses, and sums with real-valued terms, read neuron `path`."""
        known = path in self._wiring.readers and path not in self._wiring.measured
        return known and all(
            self.counted(reader)
            or any(not self._is(each, Role.NEURON) for each in self._sources(reader))
            for reader in self.readers(path)
        )

    def _spiking(self, path: str) -> bool:
        return self._is(path, Role.NEURON) and self.narrow(path)

    def terms(self, path: str) -> tuple[str, ...]:
        """Return the leaves whose outputs reach leaf `path` by `Handover`; empty if any does not.

        A neuron takes the outputs of norms and synapses that it alone reads, and narrow spikes
        (uint8, see `narrow`). A synapse takes narrow spikes.
        """
        sources = self._sources(path)
        if not self._wiring.measured.isdisjoint(sources):
            return ()  # a token has another shape
        if self._is(path, Role.NEURON):
            real = [each for each in sources if self._is(each, Role.SYNAPSE, Role.NORM)]
            alone = all(self.readers(each) == {path} for each in real)
            others = all(self._spiking(each) for each in sources if each not in real)
            return sources if real and alone and others and _differ(sources) else ()
        return sources if self.counted(path) and self.narrow(sources[0]) else ()

    def takers(self, path: str) -> frozenset[str]:
        """Return the leaves to which leaf `path` gives its output by `Handover`."""
        return frozenset(each for each in self.readers(path) if path in self.terms(each))

    def unread(self, path: str) -> bool:
        """Return whether the value of leaf `path` has no reader in the rate pass.

        In the rate pass norms and neurons take their values from their own records, and so do
        synapses that get spike counts.
        """
        if path in self._wiring.only_norms:
            return True
        return path in self._wiring.readers and all(
            self.counted(each) or self._is(each, Role.NORM, Role.NEURON)
            for each in self.readers(path)
        )


def _differ(paths: tuple[str, ...]) -> bool:
    return len(set(paths)) == len(paths)
