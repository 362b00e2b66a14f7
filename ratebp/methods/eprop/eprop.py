"""E-prop: eligibility traces and broadcast learning signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ratebp.method import Binding, Identity, Info, Method, option
from ratebp.methods.eprop._feedback import Broadcast, readouts
from ratebp.methods.eprop._leaves import EpropLeaves
from ratebp.needs import Need
from ratebp.neurons import ALIF, LIF, Recurrent
from ratebp.phases import StepContext
from ratebp.roles import Role
from ratebp.schedules import Loss, Result, online
from ratebp.views import View


@dataclass(frozen=True)
class Eprop(Method):
    """E-prop: each weight's eligibility times a learning signal broadcast from the outputs.

    ::

        dW = sum_t (L[t] h'[t]) a[t]^T,   a[t] = decay a[t-1] + x[t],   h'[t] = h'(u[t] - threshold)
        L[t] = B d[t],   d[t] = d loss(o[t], y) / T / d o[t];    readout: dW = sum_t d[t] s[t]^T
        ALIF: a[t] - adaptation r[t] for a[t], with the same h' of the threshold as it then is,
              r[t+1] = h'[t] a[t] + (adaptation_decay - adaptation h'[t]) r[t]

    Source: Bellec et al., Nat. Commun. 2020. In a `Recurrent` layer the weights between its neurons
    learn alike, with x[t] the layer's last spikes s[t-1]. With the total derivative for L the first
    line is exact there, too, for a soft, detached reset. The readout has no leak, so no signal is
    filtered. Deviations: the paper has one hidden layer, which the readout reads; layers that it
    does not read get fixed random feedback under every option, and [units, K] numbers a layer are
    kept. An ALIF's r has a number for each sample and weight, which a convolution cannot pay: it
    must follow one nn.Linear, and so must a recurrent ALIF's spikes. A bias is a weight on the
    input 1.

    Options:
        feedback: what B is for the layers that the readout reads. "symmetric": the readout's
            weights, through any plumbing; "random": fixed; "adaptive": starts random and gets the
            readout's updates (published: with weight decay on both, which is the optimiser's).
        seed: of the random feedback, which is uniform within 1/sqrt(units of the layer).
    """

    info: ClassVar = Info(
        label="e-prop",
        family="online",
        memory="constant",
        layout="single",
        loss="per_step",
        papers=("Bellec et al. 2020, Nature Communications, doi 10.1038/s41467-020-17236-y",),
        inputs=False,
    )
    identities: ClassVar = (
        Identity(
            "bptt_s",
            {"norm": "none", "reset": "soft", "detach_reset": True},
            over="last_spiking",
            other_options={"loss_mode": "per_step"},
        ),
        Identity("ottt_a", over="last_spiking", other_options={"placement": "spiking"}),
        # Before the first update.
        Identity("eprop", options={"feedback": "adaptive"}, other_options={"feedback": "random"}),
    )
    needs: ClassVar = (Need.SYNAPSES, Need.NEURONS, Need.SINGLE)

    neurons: ClassVar = (LIF, ALIF, Recurrent)

    feedback: str = option("symmetric", "symmetric", "random", "adaptive")
    seed: int = 0

    def build(self, binding: Binding) -> dict[str, View]:
        """Cut the layers apart and put the broadcast around them."""
        ends = readouts("eprop", binding.model, binding.wiring)
        read = frozenset[str]().union(*(binding.wiring.before[path] for path in ends))
        exact = read if self.feedback == "symmetric" else frozenset[str]()
        leaves = EpropLeaves(
            binding,
            listens=read if self.feedback != "random" else (),
            ends=ends,
            drifts=ends if self.feedback == "adaptive" else (),
        )
        net = binding.view(
            {Role.NEURON: leaves.neuron, Role.SYNAPSE: leaves.synapse},
            containers={"": lambda net: Broadcast(net, self.seed, exact)},
        )
        return {"net": net}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run each step forward and backward, accumulating gradients."""
        return online(views["net"], x, y, loss, context)
