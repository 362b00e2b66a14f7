"""Forward of gradient checkpointing over time.

A sequence is divided into segments. The forward builds no graph and keeps the neurons' potentials
at the borders of the segments; the backward goes through the segments from the last to the first
and runs each again, this time with a graph, from the potentials that were kept.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.errors import OptionError
from ratebp.ops import has_hooks
from ratebp.rules.rerun import Part, Surroundings, edge_of, leaf_of, pull, refuse_changed, segments
from ratebp.views import View, place_of


@dataclass(frozen=True)
class _Plan:
    """The view of the forward, the view of the recomputation, and the length of a segment."""

    first: Part
    again: Part
    segment: int


def in_segments(spikes: View, x: Tensor, *, rerun: View, segment: int) -> tuple[Tensor, ...]:
    """Run `spikes` over the sequence without a graph, to be recomputed by segments in `rerun`.

    Kept for the backward are `x` and, per neuron, the potential at each border between segments.

    Args:
        spikes: the view of the forward, with `StepLIF` neurons.
        x: inputs ``[T, B, ...]``.
        rerun: the view of the recomputation: neurons of the same state, norms that give the same
            values and update no statistics. Under DDP it is the one that synchronises, once, with
            the last segment to be recomputed.
        segment: time steps in a segment; the last one is shorter where it does not divide T.

    Returns:
        T outputs ``[B, K]``, whose backward adds to the parameters' `.grad`.

    Raises:
        OptionError: for hooks on a parameter, which would see the gradient of each segment.
    """
    if segment < len(x):
        _refuse_parameter_hooks(rerun.module)
    again = Part(rerun, rerun.module, rerun.no_sync)
    plan = _Plan(Part(spikes, spikes.module), again, segment)
    # Autograd calls the backward of a function only if an input of it asks for a gradient.
    anchor = torch.zeros((), requires_grad=True)
    outs: tuple[Tensor, ...] = _Segments.apply(plan, anchor, x)  # type: ignore[no-untyped-call]
    return outs


class _Segments(torch.autograd.Function):
    """Runs a sequence without a graph; the backward recomputes it, segment by segment."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, anchor: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        # A view of x would say that it needs a gradient, and have no graph to give it.
        fixed = x.detach()
        version = fixed._version
        borders: list[Tensor | None] = []
        outs: list[Tensor] = []
        ctx.plan, ctx.surroundings = plan, Surroundings(x)
        ctx.set_materialize_grads(False)
        with plan.first.sequence():
            for span in segments(len(x), plan.segment):
                borders += [n.potential for n in plan.first.neurons]
                ctx.surroundings.note()
                outs += [plan.first({}, (now,))[0] for now in fixed[span].unbind(0)]
        refuse_changed([fixed], [version])
        ctx.save_for_backward(x, *borders)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        plan, (x, *borders) = ctx.plan, ctx.saved_tensors
        neurons = plan.again.neurons
        found: list[Tensor] = []
        later: list[Tensor | None] = [None] * len(neurons)
        with ctx.surroundings.recomputation():
            for k, span in reversed([*enumerate(segments(len(x), plan.segment))]):
                starts = [leaf_of(u) for u in borders[k * len(neurons) : (k + 1) * len(neurons)]]
                now = leaf_of(x[span], ctx.needs_input_grad[2])
                with nullcontext() if k == 0 else plan.again.no_sync():
                    with ctx.surroundings.segment(k), plan.again.sequence():
                        for neuron, start in zip(neurons, starts, strict=True):
                            neuron.potential = start
                        edges = [edge_of(plan.again({}, (step,))[0]) for step in now.unbind(0)]
                        edges += [edge_of(neuron.potential) for neuron in neurons]
                    pull(edges, [*grads[span], *later])
                later = [None if start is None else start.grad for start in starts]
                found.insert(0, now.grad)
        return None, None, torch.cat(found) if ctx.needs_input_grad[2] else None


def _refuse_parameter_hooks(net: nn.Module) -> None:
    hooked = [
        f"`{name}` of {place_of(module)}"
        for module in net.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None and has_hooks(parameter)
    ]
    if hooked:
        raise OptionError(
            f"hooks on parameters ({', '.join(hooked)}) would run once for each segment of time, "
            "on a part of the gradient. Use over='layers', segment=T or more, or train with bptt_s."
        )
