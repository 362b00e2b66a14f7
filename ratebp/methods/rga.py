"""Rate gradient approximation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.method import Binding, Identity, Info, Method
from ratebp.needs import Need
from ratebp.neurons import LIF
from ratebp.ops import every_step, lif_scan
from ratebp.oracles import curve_of_mean_current
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules.handover import widened
from ratebp.schedules import Loss, Result, layer_by_layer, whole_sequence
from ratebp.views import Folded, View


def fitted(x: Tensor, d: Dynamics) -> Tensor:
    """Return the slope of RGA's curve, for a threshold of 1 with ``decay`` the paper's tau.

    ::

        0.2                                   0 <= x < 1 - decay
        (0.8 + 0.2 decay) / (1 + decay)       1 - decay <= x <= 2;   else 0
    """
    z = x / d.threshold
    steep = (0.8 + 0.2 * d.decay) / (1 + d.decay)
    slow, fast = (z >= 0) & (z < 1 - d.decay), (z >= 1 - d.decay) & (z <= 2)
    return (0.2 * slow.to(x.dtype) + steep * fast.to(x.dtype)) / d.threshold


class FittedLIF(Folded):
    """All time steps at once, folded ``[T*B, ...]``: the LIF's spikes, one slope for all steps.

    ::

        dI[t] = slope(mean_t I) ds[t]
    """

    def __init__(self, lif: LIF, timesteps: int) -> None:
        """Take the constants of `lif`."""
        super().__init__()
        self.dynamics = lif.dynamics
        self.timesteps = timesteps

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        folded = every_step(self.steps(current), self.timesteps)
        still = folded.detach()
        mean = still.mean(0, dtype=widened(still.dtype))
        slope = fitted(mean, self.dynamics).to(current.dtype)
        out: Tensor = lif_scan(still, self.dynamics) + slope * (folded - still)
        return out.flatten(0, 1)


@dataclass(frozen=True)
class Rga(Method):
    """RGA: spikes forward; backward with one slope a neuron, a fixed curve of its mean current.

    ::

        x = mean_t I[t] / threshold,   dI[t] = ds[t] phi(x) / threshold,   tau = decay
        phi = 0.2 on [0, 1 - tau),   (0.8 + 0.2 tau) / (1 + tau) on [1 - tau, 2],   0 elsewhere

    Source: Bu et al., CVPR 2023, where it serves to attack trained networks. The paper's phi is for
    hard reset and a threshold of 1; here it is taken as it stands for the neurons that the model
    has, thresholds by scaling. Rate-BP is its counterpart with a slope that is measured. Deviation:
    the neuron fires at u = threshold, too.
    """

    info: ClassVar = Info(
        label="RGA",
        family="rate",
        memory="linear",
        layout="multi",
        loss="mean",
        papers=("Bu et al. 2023, CVPR",),
    )
    identities: ClassVar = (
        Identity(oracle=curve_of_mean_current),
        # At decay 1 phi is a rectangle of height 1/2 around the threshold.
        Identity("bptt_m", {"timesteps": 1, "decay": 1.0, "surrogate": "rectangle", "alpha": 0.5}),
    )
    needs: ClassVar = (Need.ADDITIVE,)

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons for those with a slope by their mean current."""
        steps = binding.timesteps
        return {"net": binding.view({Role.NEURON: lambda lif, _: FittedLIF(lif, steps)})}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run all layers over all steps forward, then one backward."""
        return whole_sequence(layer_by_layer, views["net"], x, y, loss, context, "mean")
