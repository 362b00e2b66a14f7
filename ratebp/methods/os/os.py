"""Online spiking renormalisation and threshold stabiliser."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch.distributed as dist
from torch import Tensor, nn

from ratebp.inference import mean_logits
from ratebp.method import Binding, Identity, Info, Method, count, option
from ratebp.methods.os._renorm import FALLBACKS, STARTS, renorm
from ratebp.methods.os._stabilised import FrozenLIF, StabilisedLIF
from ratebp.network import Network, spiking
from ratebp.neurons import LIF
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules import DetachedLIF
from ratebp.schedules import Loss, Result, online
from ratebp.structures import Output
from ratebp.views import Rule, View


@dataclass(frozen=True)
class OS(Method):
    """OS: SLTT's gradient, in a network that is normalised and thresholded to stay comparable.

    Batch norms use their running statistics, with batch norm's gradient; the statistics of all
    steps are averaged and move the running ones once, at the end of the batch. Thresholds follow
    mean and spread of the potentials::

        out = weight (I - mu_run) / sqrt(var_run + eps) + bias
        theta[t] = m[t] + q d[t],   q = (threshold - m[1]) / d[1]

    Source: Zhu et al., ICLR 2024. Its forward is therefore not the plain spiking one: thresholds
    depend on the batch, also across processes. Predict with `Bound.infer`. Deviations: statistics
    move at the end of the batch (published: at the start of the next, so that the last before an
    evaluation counts for nothing); eps and momentum are the norm's own (published: 1e-4, 0.1).
    Reset is the neuron's: the paper's equation is hard, its code soft, with the moved threshold.

    Options:
        safety: a step of which any channel's sigma is this many times the running one, or the
            inverse, takes its own statistics (published: 20; 50 on event data).
        fallback: the backward of such a step: "plain" batch norm's, or as "published", that of the
            renormalisation.
        start: a norm that has seen no batch takes its statistics from the "first_batch"; as
            "published", it starts from mean 0 and variance 1, which it takes updates to leave.
        threshold: "stabilised", or "fixed" for the renormalisation alone.
        test_threshold: "frozen" at the running mean of the thresholds in training (of this bound
            object, which a checkpoint of the model does not hold), or "batch", set by the test
            batch, so that a prediction depends on its neighbours (published default).
    """

    info: ClassVar = Info(
        label="OS",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Zhu et al. 2024, ICLR, openreview CIj1CVbkpr",),
        statistics="batch",
    )
    identities: ClassVar = (
        Identity("bptt_s", {"timesteps": 1, "norm": "none"}),
        Identity("bptt_s", {"timesteps": 1, "norm": "frozen"}),
        Identity("sltt", {"norm": "none"}, options={"threshold": "fixed"}),
        Identity("sltt", {"norm": "frozen"}, options={"threshold": "fixed"}),
    )

    safety: int = count(20)
    fallback: str = option("plain", *FALLBACKS)
    start: str = option("first_batch", *STARTS)
    threshold: str = option("stabilised", "stabilised", "fixed")
    test_threshold: str = option("frozen", "frozen", "batch")

    def _rules(self, world: int) -> dict[Role, Rule]:
        def neuron(lif: LIF, path: str) -> nn.Module:
            if self.threshold == "fixed":
                return DetachedLIF(lif)
            return StabilisedLIF(lif, path, world)

        return {
            Role.NEURON: neuron,
            Role.NORM: lambda norm, path: renorm(
                norm, path, self.safety, self.fallback, self.start
            ),
        }

    def build(self, binding: Binding) -> dict[str, View]:
        """Swap neurons and norms; under DDP, thresholds are those of the whole batch."""
        shared = binding.wrap is not None and dist.is_available() and dist.is_initialized()
        return {"net": binding.view(self._rules(dist.get_world_size() if shared else 1))}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each step forward and backward, accumulating gradients."""
        return online(views["net"], x, y, loss, context)

    def network(self, binding: Binding, views: dict[str, View]) -> Network:
        """Return the normalised network; `test_threshold` says how it predicts."""
        net = views["net"]

        def predict(x: Tensor) -> Output:
            net.refresh()
            rules = self._rules(1)
            if self.threshold == "stabilised" and self.test_threshold == "frozen":
                leaves = net.module.modules()
                trained = {m.path: m.running for m in leaves if isinstance(m, StabilisedLIF)}
                rules[Role.NEURON] = lambda lif, path: FrozenLIF(lif, trained[path])
            return mean_logits(binding.view(rules, builds_graph=False), x)

        return replace(spiking(binding, self._rules(1)), infer=predict)
