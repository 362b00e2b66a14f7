"""Which network a method trains: its forward, and what it predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from ratebp import schedules
from ratebp.binding import Binding
from ratebp.inference import infer
from ratebp.roles import Role
from ratebp.rules.neurons.exact import scan_neuron, step_neuron
from ratebp.structures import Output
from ratebp.views import Rule, View


@dataclass(frozen=True)
class Network:
    """What `Bound.plain` and `Bound.infer` run.

    Attributes:
        view: that `forward` runs.
        forward: ``forward(view, x [T, B, ...]) -> outputs [B, K]`` of the time steps, with the
            model's training flags as they are; called without a graph.
        infer: ``infer(x [T, B, ...]) -> logits [B, K]``, in eval mode, for any T.
    """

    view: View
    forward: Callable[[View, Tensor], tuple[Output, ...]]
    infer: Callable[[Tensor], Output]


def spiking(binding: Binding, rules: Mapping[Role, Rule] | None = None) -> Network:
    """Return the spiking network over T steps, in the binding's layout; `ratebp.infer` predicts.

    Args:
        binding: what is bound.
        rules: of the leaves; by default neurons run as written and norms as the layout says.
    """
    multi = binding.layout == "multi"
    if rules is None:
        steps = binding.timesteps
        scan: Rule = lambda neuron, _: scan_neuron(neuron, steps)  # noqa: E731
        step: Rule = lambda neuron, _: step_neuron(neuron)  # noqa: E731
        rules = {Role.NEURON: scan if multi else step}
    return Network(
        binding.view(rules, builds_graph=False),
        schedules.layer_by_layer if multi else schedules.step_by_step,
        partial(infer, binding.model),
    )
