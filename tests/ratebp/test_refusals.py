"""What each method refuses when it is bound, by name and with a way out, and that it does the rest.

The table is the statement: a method that learns to train something, or stops refusing what it
cannot train, changes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

import ratebp
from ratebp import ALIF, LIF, PLIF, TLIF, Recurrent
from ratebp.errors import BindError
from ratebp.neurons import PSN, MaskedPSN, SlidingPSN
from ratebp.testing import seeded_step

STEPS = 3


def network(
    *spikes: nn.Module,
    currents: nn.Module | None = None,
    neuron: Callable[[], nn.Module] = lambda: LIF(0.5),
) -> nn.Sequential:
    """Two hidden linear layers; `currents` comes before the first neuron, `spikes` behind it."""
    before = [] if currents is None else [currents]
    hidden = [neuron(), *spikes, nn.Linear(8, 8), neuron()]
    return nn.Sequential(nn.Linear(6, 8), *before, *hidden, nn.Linear(8, 5))


class Pool(nn.Module):
    """The maximum of neighbours, which keeps the shape."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.pool(x.unsqueeze(1))
        return out.squeeze(1)


THINGS: dict[str, Callable[[], nn.Sequential]] = {
    "batch norm": lambda: network(currents=nn.BatchNorm1d(8)),
    "norm without running statistics": lambda: network(
        currents=nn.BatchNorm1d(8, track_running_stats=False)
    ),
    "layer norm": lambda: network(currents=nn.LayerNorm(8)),
    "max pool of currents": lambda: network(currents=Pool()),
    "max pool of spikes": lambda: network(Pool()),
    "dropout of spikes": lambda: network(nn.Dropout(0.5)),
    "hard reset": lambda: network(neuron=lambda: LIF(0.5, reset="hard")),
    "reset in the gradient": lambda: network(neuron=lambda: LIF(0.5, detach_reset=False)),
    "two decays": lambda: nn.Sequential(*network()[:3], LIF(0.9), nn.Linear(8, 5)),
    "PLIF": lambda: network(neuron=PLIF),
    "TLIF": lambda: network(neuron=TLIF),
    "ALIF": lambda: network(neuron=ALIF),
    "PSN": lambda: network(neuron=lambda: PSN(STEPS)),
    "masked PSN": lambda: network(neuron=lambda: MaskedPSN(STEPS)),
    "sliding PSN": lambda: network(neuron=SlidingPSN),
    "recurrent": lambda: network(neuron=lambda: Recurrent(nn.Linear(8, 8), LIF(0.5))),
}

PARALLEL = ("PSN", "masked PSN")
OTHERS = ("PLIF", "ALIF", *PARALLEL, "sliding PSN", "recurrent")
OTHER_NEURONS = (*OTHERS, "TLIF")
STATELESS_NORMS = ("norm without running statistics", "layer norm")
NORMS = ("batch norm", *STATELESS_NORMS)
MAX_POOLS = ("max pool of currents", "max pool of spikes")
NOT_LINEAR = (*NORMS, *MAX_POOLS, "dropout of spikes")
SAF = (*NOT_LINEAR, "hard reset", "reset in the gradient", "two decays", *OTHER_NEURONS)
NDOT = ("max pool of spikes", "dropout of spikes", *OTHER_NEURONS)
RATE = ("layer norm", *OTHER_NEURONS)

REFUSED: dict[str, tuple[str, ...]] = {
    "ann": OTHER_NEURONS,
    "bptt_ckpt": ("ALIF", "TLIF", *PARALLEL, "sliding PSN", "recurrent"),
    "bptt_m": (),
    "bptt_s": PARALLEL,
    "dsr": ("hard reset", *OTHERS),
    "eprop": ("PLIF", "TLIF", *PARALLEL, "sliding PSN"),
    "fptt": OTHER_NEURONS,
    "ndot_a": NDOT,
    "ndot_o": NDOT,
    "os": ("norm without running statistics", *OTHER_NEURONS),
    "ostl": ("hard reset", "reset in the gradient", *OTHER_NEURONS[:-2], "TLIF"),
    "ottt_a": OTHER_NEURONS,
    "ottt_o": OTHER_NEURONS,
    "rate_m": RATE,
    "rate_s": RATE,
    "rga": OTHER_NEURONS,
    "saf_e": SAF,
    "saf_f": SAF,
    "sfa": (*STATELESS_NORMS, "hard reset", *OTHER_NEURONS),
    "sltt": OTHER_NEURONS,
    "sltt_k": OTHER_NEURONS,
    "stllr": (*NORMS, "max pool of currents", *OTHER_NEURONS),
    "t1": OTHER_NEURONS,
    "tandem": (*RATE, "hard reset"),
    "tbptt": PARALLEL,
}
REMEDY = r"(Use|Set|Put|Give|Take|Change|Remove) .*(train with|infer)"


def test_the_table_is_of_all_methods_and_no_other_things() -> None:
    assert REFUSED.keys() == set(ratebp.methods.names())
    assert {thing for things in REFUSED.values() for thing in things} == set(THINGS)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused_at_bind_by_name_with_a_way_out(name: str) -> None:
    method = ratebp.methods.get(name)
    for thing in REFUSED[name]:
        with pytest.raises(BindError, match=REMEDY) as refused:
            method.bind(THINGS[thing](), STEPS)
        words = str(refused.value)
        assert re.search(r"`[\w.]+`", words), (thing, words)  # where, or what


@pytest.mark.deep_but("bptt_m", "rate_m", "sltt")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_refused_is_trained(name: str) -> None:
    """Every parameter gets a finite gradient, and those of hidden weights are not zero."""
    method = ratebp.methods.get(name)
    x = torch.randn(STEPS, 16, 6, generator=torch.Generator().manual_seed(0))
    for thing in THINGS.keys() - set(REFUSED[name]):
        torch.manual_seed(0)
        model = THINGS[thing]()
        with torch.no_grad():
            for synapse in (m for m in model.modules() if isinstance(m, nn.Linear)):
                synapse.weight.mul_(3)  # so that all layers spike
        seeded_step(method.bind(model, STEPS), x, torch.arange(16) % 5)
        for place, parameter in model.named_parameters():
            assert parameter.grad is not None, (thing, place)
            assert parameter.grad.isfinite().all(), (thing, place)
        assert float(model[0].weight.grad.norm()) > 0, thing  # type: ignore[union-attr]
