"""Forward propagation through time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.legal import positive
from ratebp.method import Binding, Identity, Info, Method, option
from ratebp.methods.fptt._proximal import Proximal, potentials, put_potentials
from ratebp.needs import Need
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.rules import DetachedLIF
from ratebp.rules.rerun import rerun_norm
from ratebp.rules.sharing.rules import bit_rules
from ratebp.schedules import Loss, Result, Tally
from ratebp.views import View


@dataclass(frozen=True)
class Fptt(Method):
    """FPTT: at every time step one update of that step's loss plus a pull to the weights' average.

    ::

        W_{t+1} = W_t - lr grad(l_t + R_t)(W_t),   l_t = loss(o[t], y) / T,   states cut every step
        R_t(W) = alpha/2 |W - M_t - g_t / (2 alpha)|^2,   g_t = grad l_{t-1}(W_t)
        M_{t+1} = (M_t + W_{t+1}) / 2 - g_{t+1} / (2 alpha)

    Source: Kag and Saligrama, ICML 2021; for spiking networks Yin, Corradi and Bohte 2023, arXiv
    2112.11231. l_t has the 1/T of all online methods here, which scales `alpha` too. Deviations:
    every sequence starts with M = W and g = 0, so that a method keeps nothing between batches
    (published: M goes on). The published spiking code weights l_t by t/T, takes g whole instead of
    half and puts W back to M after each sequence; that is not offered.

    Options:
        alpha: strength of the pull.
        slope: "recomputed" takes g from a second forward and backward of the step with the updated
            weights, as the equation says (norms then update no statistics);
            "stationary" takes the g at which l_t + R_t would be stationary, for nothing.
    """

    info: ClassVar = Info(
        label="FPTT",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Kag and Saligrama 2021, ICML", "Yin et al. 2023, NMI, arXiv 2112.11231"),
        updates="time step",
    )
    identities: ClassVar = (  # with the updates withheld: the gradients that weights W_1 get
        Identity("sltt", {"timesteps": 2}),
        Identity("sltt", options={"slope": "stationary"}),
        Identity("bptt_s", {"timesteps": 1}),
    )
    needs: ClassVar = (Need.REPEATABLE, Need.STILL)

    alpha: float = 0.5
    slope: str = option("recomputed", "recomputed", "stationary")

    def __post_init__(self) -> None:
        """Refuse a strength that is not positive."""
        super().__post_init__()
        positive("Fptt.alpha", self.alpha)

    def build(self, binding: Binding) -> dict[str, View]:
        """Make the view of the updates, and that of the steps run again."""
        model, wiring = binding.model, binding.wiring
        views = {"net": binding.view(bit_rules(model, wiring, DetachedLIF))}
        if self.slope == "recomputed":
            # Not for DDP: each process needs the slope of its own loss, as an ingredient of R.
            rules = {**bit_rules(model, wiring, DetachedLIF), Role.NORM: rerun_norm}
            views["again"] = binding.view(rules, builds_graph=False)
        return views

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each step forward and backward, update, and where asked for run it again."""
        net, again, timesteps = views["net"], views.get("again", views["net"]), x.shape[0]
        pull, tally = Proximal(net.module.parameters(), self.alpha), Tally()
        with net.sequence(), again.sequence():
            for t, now in enumerate(x.unbind(0), start=1):
                before = potentials(net)
                with context.phase("forward"):
                    out = net(now)
                    value = loss(out, y)
                    tally.add(value, out)
                    regularised = value / timesteps + pull.term()
                with context.phase("backward"):
                    context.backward(regularised)
                context.update()
                if t < timesteps and again is net:
                    pull.advance(pull.stationary())
                elif t < timesteps:
                    put_potentials(again, before)
                    with context.phase("forward"):
                        value = loss(again(now), y) / timesteps
                    with context.phase("backward"):
                        pull.advance(pull.slopes_of(value))
        return tally.result(timesteps)
