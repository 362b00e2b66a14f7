"""Models of other packages, as one-step models of ours, each proven by its spikes.

None of the packages is imported here: an importer knows modules by their classes' names.
"""

from ratebp.importers.nir import from_nir
from ratebp.importers.report import NeuronProof, Proof
from ratebp.importers.snntorch import from_snntorch
from ratebp.importers.spikingjelly import from_spikingjelly
from ratebp.importers.to_nir import to_nir

__all__ = ["NeuronProof", "Proof", "from_nir", "from_snntorch", "from_spikingjelly", "to_nir"]
