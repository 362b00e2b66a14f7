"""Tandem learning: a spiking and a rectifier network that share weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method
from ratebp.needs import Need
from ratebp.ops import every_step, lif_scan
from ratebp.oracles import rectified_rates
from ratebp.phases import StepContext
from ratebp.rules import RecordNormScan, RecordSynapseScan, rate_views
from ratebp.rules.handover import widened
from ratebp.rules.neurons.lif import refuse_hard_reset
from ratebp.rules.rate.neurons import RecordNeuronScan
from ratebp.schedules import Loss, Result, layer_by_layer, two_pass
from ratebp.views import View


class RecordRectifiedScan(RecordNeuronScan):
    """The spiking stream of tandem learning: spike counts, and the slope of a rectifier."""

    def forward(self, current: Tensor) -> Tensor:
        """Return spikes, shape of `current`."""
        steps = self.steps(current.detach())
        spikes = lif_scan(every_step(steps, self.timesteps), self.dynamics)
        wide = widened(spikes.dtype)
        slope = (steps.mean(0, dtype=wide) > 0).to(wide) / self.dynamics.threshold
        self.record.put(spikes.sum(0, dtype=wide), self.timesteps * slope)
        return spikes.flatten(0, 1)


@dataclass(frozen=True)
class Tandem(Method):
    """Tandem learning: a rectifier network fed with the spiking one's counts is differentiated.

    ::

        spiking stream:    s[t] of the LIF layers, no gradient
        rectifier stream:  c = norm(W r_in + b),   r = max(0, c) / threshold
                           with the value of r replaced by the spiking stream's (1/T) sum_t s[t]

    Source: Wu et al., TNNLS 2021, arXiv 1907.01167. Rates stand for the paper's counts, T times as
    large, and the loss is that of the mean output. As in `rate_m`, a linear map's value for the
    mean is recorded in the spiking stream, so the rectifier stream computes no synapse. Deviation:
    the published code normalises the rectifier stream by the batch and the spiking one by running
    statistics; here both use the statistics over T*B of the spiking stream, as the network that is
    trained is the model itself. There a norm scales the current of all T steps together, so counts
    stay far from T; here rates come near 1, where the rectifier goes on rising. Train it as
    published, with a norm before each neuron and Adam: without norms, and with SGD at the rates
    that suit rate_m, neurons end up firing at every step or never. Soft reset only.
    """

    info: ClassVar = Info(
        label="tandem",
        family="rate",
        memory="constant",
        layout="multi",
        loss="mean",
        papers=("Wu et al. 2021, TNNLS, arXiv 1907.01167",),
    )
    identities: ClassVar = (
        Identity(oracle=rectified_rates, when={"reset": "soft"}),
        # The rectifier is DSR's clip where no mean current exceeds the threshold, as here.
        Identity(
            "dsr",
            {"norm": "none", "decay": 1.0, "reset": "soft", "threshold": 3.0, "timesteps": 12},
        ),
    )
    needs: ClassVar = (Need.REPEATABLE, Need.STILL, Need.RATES)

    def build(self, binding: Binding) -> dict[str, View]:
        """Make the two streams, twin leaves sharing their records."""
        refuse_hard_reset("tandem", binding.model)
        return rate_views(
            binding,
            RecordRectifiedScan,
            RecordSynapseScan,
            RecordNormScan,
        )

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run the spiking stream, the rectifier stream and one backward."""
        return two_pass(layer_by_layer, views["spikes"], views["rates"], x, y, loss, context, 1)
