"""The spiking neurons as a model writes them: constants and parameters, no dynamics."""

from ratebp.neurons.adaptive import ALIF, PLIF
from ratebp.neurons.base import Neuron
from ratebp.neurons.delay import Delay
from ratebp.neurons.heterogeneous import LI, HeterogeneousLIF
from ratebp.neurons.lif import LIF
from ratebp.neurons.parallel import PSN, MaskedPSN, SlidingPSN
from ratebp.neurons.recurrent import Recurrent
from ratebp.neurons.settings import KINDS, check, make, threshold
from ratebp.neurons.threshold import TLIF
from ratebp.neurons.undecayed import UndecayedLIF

__all__ = [
    "ALIF",
    "KINDS",
    "LI",
    "LIF",
    "PLIF",
    "PSN",
    "TLIF",
    "Delay",
    "HeterogeneousLIF",
    "MaskedPSN",
    "Neuron",
    "Recurrent",
    "SlidingPSN",
    "UndecayedLIF",
    "check",
    "make",
    "threshold",
]
