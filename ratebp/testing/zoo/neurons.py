"""Neurons and their settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ratebp.neurons import (
    ALIF,
    PLIF,
    PSN,
    TLIF,
    Delay,
    MaskedPSN,
    Recurrent,
    SlidingPSN,
    UndecayedLIF,
)
from ratebp.norms import LearnedScale
from ratebp.testing.zoo.base import CLASSES, Net, lif, network


def _of(neuron: Callable[[], nn.Module]) -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, 7), neuron(), nn.Linear(7, 6), neuron(), nn.Linear(6, CLASSES)
    )


@network(5)
def hard_reset() -> nn.Module:
    """A reset to zero."""
    return _of(lambda: lif(reset="hard"))


@network(5)
def reset_in_the_gradient() -> nn.Module:
    """A soft reset that the gradient flows through."""
    return _of(lambda: lif(detach_reset=False))


@network(5)
def hard_reset_in_the_gradient() -> nn.Module:
    """A reset to zero that the gradient flows through."""
    return _of(lambda: lif(reset="hard", detach_reset=False))


@network(5)
def no_leak() -> nn.Module:
    """Integrate and fire, decay 1."""
    return _of(lambda: lif(decay=1.0))


@network(5)
def no_memory() -> nn.Module:
    """Decay 0: every step is on its own."""
    return _of(lambda: lif(decay=0.0))


@network(5)
def decays_differ() -> nn.Module:
    """A decay of its own in every layer."""
    return nn.Sequential(
        nn.Linear(5, 7), lif(decay=0.9), nn.Linear(7, 6), lif(decay=0.3), nn.Linear(6, CLASSES)
    )


@network(5)
def decays_differ_behind_a_synapse() -> nn.Module:
    """A synapse that feeds two neurons of different decays."""

    def forward(s: Any, x: Tensor) -> Any:
        c = s.f1(s.l0(s.f0(x)))
        return s.f2(s.a(c) + s.b(c))

    layers = {"f0": nn.Linear(5, 7), "l0": lif(), "f1": nn.Linear(7, 6)}
    return Net(forward, **layers, a=lif(decay=0.9), b=lif(decay=0.3), f2=nn.Linear(6, CLASSES))


@network(5)
def surrogates_differ() -> nn.Module:
    """Other surrogate derivatives: atan and triangle."""
    return nn.Sequential(
        nn.Linear(5, 7),
        lif(surrogate="atan"),
        nn.Linear(7, 6),
        lif(surrogate="triangle", alpha=0.3),
        nn.Linear(6, CLASSES),
    )


@network(5)
def plif() -> nn.Module:
    """PLIF: learned decays."""
    return _of(lambda: PLIF(threshold=0.3))


@network(5)
def undecayed_lif() -> nn.Module:
    """UndecayedLIF: a reset after the leak."""
    return _of(lambda: UndecayedLIF(0.6, 0.4, detach_reset=False))


@network(5)
def alif() -> nn.Module:
    """ALIF: thresholds that move."""
    return _of(lambda: ALIF(0.6, 0.4, alpha=2.0))


@network(5)
def tlif() -> nn.Module:
    """TLIF: learned thresholds."""
    return _of(lambda: TLIF(0.8, 0.4, alpha=2.0))


@network(5)
def tlif_scaled() -> nn.Module:
    """TLIF whose spikes are as large as its learned threshold (DSR)."""
    a, b = TLIF(0.8, 0.4, alpha=2.0), TLIF(0.8, 0.4, alpha=2.0)
    parts = nn.Linear(5, 7), a, LearnedScale(a.threshold), nn.Linear(7, 6), b
    return nn.Sequential(*parts, LearnedScale(b.threshold), nn.Linear(6, CLASSES))


@network(5)
def psn(timesteps: int) -> nn.Module:
    """PSN: every step sees all steps."""
    return _of(lambda: PSN(timesteps, threshold=0.3))


@network(5)
def masked_psn(timesteps: int) -> nn.Module:
    """MaskedPSN, half masked."""
    return _of(lambda: MaskedPSN(timesteps, order=2, masking=0.5, threshold=0.3))


@network(5)
def sliding_psn() -> nn.Module:
    """SlidingPSN."""
    return _of(lambda: SlidingPSN(order=2, threshold=0.3))


@network(5)
def recurrent() -> nn.Module:
    """A recurrent layer."""
    return nn.Sequential(
        nn.Linear(5, 7), Recurrent(nn.Linear(7, 7, bias=False), lif()), nn.Linear(7, CLASSES)
    )


@network(5)
def recurrent_deep() -> nn.Module:
    """Recurrent layers of PLIF and LIF in a chain."""
    return nn.Sequential(
        nn.Linear(5, 7),
        Recurrent(nn.Linear(7, 7), PLIF(threshold=0.3)),
        nn.Linear(7, 6),
        Recurrent(nn.Linear(6, 6), lif()),
        nn.Linear(6, CLASSES),
    )


@network(5)
def delayed_feedback() -> nn.Module:
    """Feedback from the second layer to the first, one step late."""

    def forward(s: Any, x: Any) -> Any:
        late, c = s.delay(), s.f0(x)
        a = s.l0(c if late is None else c + s.back(late))
        b = s.l1(s.f1(a))
        s.delay.keep(b)
        return s.f2(b)

    return Net(
        forward,
        f0=nn.Linear(5, 7),
        l0=lif(),
        f1=nn.Linear(7, 6),
        l1=lif(),
        back=nn.Linear(6, 7),
        delay=Delay(),
        f2=nn.Linear(6, CLASSES),
    )


@network(5)
def neuron_twice() -> nn.Module:
    """One neuron called at two places."""

    def forward(s: Any, x: Any) -> Any:
        return s.f2(s.l(s.f1(s.l(s.f0(x)))))

    return Net(forward, f0=nn.Linear(5, 6), l=lif(), f1=nn.Linear(6, 6), f2=nn.Linear(6, CLASSES))
