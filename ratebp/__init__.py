"""Spiking networks and every efficient way to train them.

::

    model = ratebp.models.build("resnet18", num_classes=10, in_channels=3)
    method = ratebp.methods.get("rate_m")
    bound = method.bind(model, timesteps=4)
    result = bound.step(ratebp.direct(x, 4), y, loss=F.cross_entropy)   # adds to the model's .grad
    logits = ratebp.infer(model, ratebp.direct(x, 4))
"""

from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version

from ratebp import losses, methods, models, norms
from ratebp.encoding import direct
from ratebp.errors import (
    BindError,
    InputError,
    OptionError,
    OracleError,
    RatebpError,
    StaleViewError,
    UnboundError,
)
from ratebp.importers import from_nir, from_snntorch, from_spikingjelly, to_nir
from ratebp.inference import infer
from ratebp.method import Binding, Bound, Identity, Info, Method, count, option
from ratebp.neurons import (
    ALIF,
    LI,
    LIF,
    PLIF,
    PSN,
    TLIF,
    Delay,
    HeterogeneousLIF,
    MaskedPSN,
    Neuron,
    Recurrent,
    SlidingPSN,
    UndecayedLIF,
)
from ratebp.phases import StepContext
from ratebp.roles import Role, register_role
from ratebp.schedules import Result
from ratebp.verification import Check, verify
from ratebp.views import Leaf, View, view
from ratebp.wiring import Wiring

try:
    __version__ = _version("ratebp")
except _PackageNotFoundError:  # a checkout on the path of an offline machine
    __version__ = "0+checkout"

__all__ = [
    "ALIF",
    "LI",
    "LIF",
    "PLIF",
    "PSN",
    "TLIF",
    "BindError",
    "Binding",
    "Bound",
    "Check",
    "Delay",
    "HeterogeneousLIF",
    "Identity",
    "Info",
    "InputError",
    "Leaf",
    "MaskedPSN",
    "Method",
    "Neuron",
    "OptionError",
    "OracleError",
    "RatebpError",
    "Recurrent",
    "Result",
    "Role",
    "SlidingPSN",
    "StaleViewError",
    "StepContext",
    "UnboundError",
    "UndecayedLIF",
    "View",
    "Wiring",
    "count",
    "direct",
    "from_nir",
    "from_snntorch",
    "from_spikingjelly",
    "infer",
    "losses",
    "methods",
    "models",
    "norms",
    "option",
    "register_role",
    "to_nir",
    "verify",
    "view",
]
