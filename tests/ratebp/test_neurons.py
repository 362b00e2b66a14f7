"""LIF holds constants and refuses to run unbound; the equation itself is checked by hand."""

import pytest
import torch

import ratebp
from ratebp.dynamics import Dynamics
from ratebp.errors import OptionError, UnboundError
from ratebp.ops import last_spike, lif_scan, lif_step
from ratebp.surrogates import Surrogate


def test_an_unbound_neuron_says_what_to_do() -> None:
    with pytest.raises(UnboundError, match=r"bind.*ratebp\.infer"):
        ratebp.LIF()(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"decay": 1.5}, r"decay=1.5 must be a number in \[0, 1\]"),
        ({"decay": "fast"}, "decay='fast'"),
        ({"threshold": 0}, "threshold=0 must be a positive number"),
        ({"reset": "sof"}, r"unknown reset 'sof'\. Did you mean 'soft'"),
        ({"surrogate": "tri"}, "unknown surrogate 'tri'"),
        ({"alpha": -1}, "alpha=-1"),
    ],
)
def test_illegal_constants_are_refused_by_name(setting: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ratebp.LIF(**setting)  # type: ignore[arg-type]


def test_the_printout_shows_the_constants() -> None:
    assert "decay=0.25" in repr(ratebp.LIF(decay=0.25, reset="hard"))
    assert "'hard'" in repr(ratebp.LIF(decay=0.25, reset="hard"))


def test_soft_reset_by_hand() -> None:
    # u: 0.75, 0.375+0.75=1.125 fires -> 0.125*0.5=0.0625+0.5=0.5625, 0.28125+1=1.28125 fires
    current = torch.tensor([[0.75], [0.75], [0.5], [1.0]])
    spikes = lif_scan(current, Dynamics(decay=0.5))
    assert spikes.flatten().tolist() == [0, 1, 0, 1]
    d = Dynamics(decay=0.5)
    s, u = lif_step(current[1], current[0], d)
    assert (u.item(), s.item()) == (1.125, 1)
    assert d.carry(u, last_spike(u, d)).item() == 0.0625


def test_hard_reset_by_hand() -> None:
    current = torch.tensor([[0.75], [0.75], [0.5], [0.75]])
    spikes = lif_scan(current, Dynamics(decay=0.5, reset="hard"))
    # u: 0.75, 1.125 fires -> 0, 0.5, 0.25+0.75=1.0 fires at the threshold exactly
    assert spikes.flatten().tolist() == [0, 1, 0, 1]


def test_threshold_scales_the_reset() -> None:
    d = Dynamics(decay=0.5, threshold=2.0)
    _, u = lif_step(torch.tensor([3.0]), None, d)
    assert d.carry(u, last_spike(u, d)).item() == 0.5


def test_dynamics_are_hashable_constants() -> None:
    assert len({Dynamics(), Dynamics(), Dynamics(surrogate=Surrogate("atan"))}) == 2
