"""Backpropagation through time with gradient checkpointing over time, layers or both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from torch import Tensor

from ratebp.errors import OptionError
from ratebp.method import Binding, Identity, Info, Method, count, option
from ratebp.methods.ckpt._over_layers import all_layers, by_layers
from ratebp.methods.ckpt._over_time import in_segments
from ratebp.needs import Need
from ratebp.neurons import LIF, PLIF
from ratebp.phases import StepContext
from ratebp.roles import Role, role_of
from ratebp.rules.rerun import rerun_norm
from ratebp.rules.sharing.rules import step_sharing
from ratebp.schedules import SEQUENCE_LOSSES, Loss, Result, whole_sequence
from ratebp.views import View


@dataclass(frozen=True)
class BpttCkpt(Method):
    """Exact BPTT, single-step, that keeps little of the forward and recomputes the rest.

    The forward runs without a graph; the backward runs it again piece by piece, from the last to
    the first, with a graph. Each costs one more forward. With T steps, L layers (one neuron each)
    and m = segment, what is kept, and what is alive while a piece is recomputed::

        over      kept for the backward                         recomputed at once
        time      T / m potentials a neuron                     m steps of all layers
        layers    the inputs of every layer at all T steps      T steps of one layer
        both      those inputs and T / m potentials a neuron    m steps of one layer

    So "time" keeps O(L T / m) and adds O(L m) while it recomputes, "layers" keeps O(L T) and adds
    O(T), "both" keeps the most of the three and adds O(m). Inputs are spikes, kept as bits, and
    potentials are floats: "layers" has the lowest peak for deep nets, "time" for large T, and
    "both" where T steps of one layer outweigh the potentials at the borders: few borders, or few
    layers next to a huge one. At m = 1 "time" keeps as many potentials as `bptt_s` keeps currents.

    The recomputation belongs to the phase "backward". It draws the same dropout masks and leaves
    running statistics alone; modules other than norms must not change buffers in their forward.
    Over layers, `wrap` may be DDP; under torch.compile the net runs whole and recomputes nothing.

    Source: Chen et al. 2016, arXiv 1604.06174 (checkpointing); Gruslys et al. 2016, arXiv
    1606.03401 (of the state, through time). Deviations: equal segments, no recursion.

    Options:
        over: "layers", "time" or "both".
        segment: time steps per segment, but for "layers"; T or more recomputes all of them at once.
        loss_mode: "mean" or "per_step", as in `bptt_s`.
    """

    info: ClassVar = Info(
        label="BPTT (checkpointed)",
        family="exact",
        memory="linear",
        layout="single",
        loss="mean",
        papers=("Chen et al. 2016, arXiv 1604.06174", "Gruslys et al. 2016, arXiv 1606.03401"),
    )
    identities: ClassVar = (
        Identity("bptt_s"),
        Identity(
            "bptt_s",
            options={"loss_mode": "per_step"},
            other_options={"loss_mode": "per_step"},
        ),
        Identity("bptt_s", options={"over": "time"}),
        Identity("bptt_s", options={"over": "time", "segment": 2}),
        Identity("bptt_s", options={"over": "time", "segment": 9}),
        Identity("bptt_s", options={"over": "both", "segment": 2}),
    )
    needs: ClassVar = (Need.STILL, Need.UNREAD)
    neurons: ClassVar = (LIF, PLIF)

    over: str = option("layers", "layers", "time", "both")
    segment: int = count(1)
    loss_mode: str = option("mean", *SEQUENCE_LOSSES)

    def __post_init__(self) -> None:
        """Refuse a segment that would be ignored."""
        super().__post_init__()
        if self.over == "layers" and self.segment != 1:
            raise OptionError(
                f"over='layers' has no segment={self.segment}. Give it to over='time' or 'both'."
            )

    def build(self, binding: Binding) -> dict[str, View]:
        """Make the view of the forward, and that of the recomputation."""
        model, wiring = binding.model, binding.wiring
        net = step_sharing(model, wiring, binding.defaults[Role.NORM])
        again = step_sharing(model, wiring, rerun_norm, follows=False)
        if self.over == "time":
            first = binding.view(net.rules(), builds_graph=False)
            return {"net": first, "rerun": binding.view(again.rules())}
        rerun = replace(binding, wrap=None).view(again.rules())
        segment = binding.timesteps if self.over == "layers" else self.segment
        modules = model.named_modules(remove_duplicate=False)
        places = {path for path, module in modules if role_of(module) is Role.NEURON}
        chain = partial(
            by_layers,
            rerun=rerun.module,
            graph=binding.code,
            neurons=places,
            sharing=again,
            segment=segment,
        )
        return {"net": binding.view(net.rules(), containers={"": chain}), "rerun": rerun}

    def step(
        self, views: dict[str, View], x: Tensor, y: Tensor, loss: Loss, context: StepContext
    ) -> Result:
        """Run all steps forward without a graph, then one backward that recomputes."""
        in_time = partial(in_segments, rerun=views["rerun"], segment=self.segment)
        forward = in_time if self.over == "time" else all_layers
        return whole_sequence(forward, views["net"], x, y, loss, context, self.loss_mode)
