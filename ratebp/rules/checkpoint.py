"""Leaves and forward of gradient checkpointing over time.

A sequence is cut into segments. The forward builds no graph and keeps the neurons' potentials at
the borders of the segments; the backward goes through the segments from the last to the first and
runs each again, this time with a graph, from the potentials that were kept.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ratebp.errors import BindError
from ratebp.rules.neuron import StepLIF
from ratebp.rules.norm import BATCH_NORMS
from ratebp.views import Leaf, View


class RerunNorm(Leaf):
    """A batch norm of the recomputation: normalises the same, and updates no statistics."""

    def __init__(self, norm: nn.Module) -> None:
        """Take one of `BATCH_NORMS`."""
        super().__init__()
        self.norm = norm

    def forward(self, c: Tensor) -> Tensor:
        """Return the normalised activations ``[B, C, ...]``."""
        norm: Any = self.norm
        if norm.training:
            return F.batch_norm(c, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
        out: Tensor = norm(c)
        return out


def rerun_norm(norm: nn.Module, path: str) -> nn.Module:
    """Return what stands for `norm` in the recomputation: itself if it keeps no statistics.

    Raises:
        BindError: for a norm with buffers that is none of torch's BatchNorm1d/2d/3d.
    """
    if type(norm) in BATCH_NORMS:
        return RerunNorm(norm)
    if next(norm.buffers(), None) is not None:
        raise BindError(
            f"checkpointing has no rule for {type(norm).__name__} with running statistics at "
            f"`{path}`: recomputing it would update them twice. Use BatchNorm1d/2d/3d, "
            "track_running_stats=False or no norm there, or train with bptt_s."
        )
    return norm


def in_segments(spikes: View, x: Tensor, *, rerun: View, segment: int) -> tuple[Tensor, ...]:
    """Run `spikes` over the sequence without a graph, to be recomputed by segments in `rerun`.

    Kept for the backward are `x` and, per neuron, the potential at each border between segments.

    Args:
        spikes: the view of the forward, with `StepLIF` neurons.
        x: inputs ``[T, B, ...]``.
        rerun: the view of the recomputation: the same neurons, `rerun_norm` norms. Under DDP it is
            the one that synchronises, once, with the last segment to be recomputed.
        segment: time steps in a segment; the last one is shorter where it does not divide T.

    Returns:
        T outputs ``[B, K]``, whose backward adds to the parameters' `.grad`.
    """
    # Autograd calls the backward of a function only if an input of it asks for a gradient.
    anchor = torch.zeros((), requires_grad=True)
    plan = _Plan(spikes, rerun, segment)
    outs: tuple[Tensor, ...] = _Segments.apply(plan, x, anchor)  # type: ignore[no-untyped-call]
    return outs


@dataclass(frozen=True)
class _Plan:
    spikes: View
    rerun: View
    segment: int

    def cut(self, timesteps: int) -> list[slice]:
        return [slice(a, a + self.segment) for a in range(0, timesteps, self.segment)]


class _Segments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, plan: _Plan, x: Tensor, anchor: Tensor) -> tuple[Tensor, ...]:
        neurons, outs = _neurons(plan.spikes), list[Tensor]()
        borders: list[Tensor | None] = []
        ctx.plan, ctx.ambient, ctx.draws = plan, _autocast(x), []
        with plan.spikes.sequence():
            for span in plan.cut(x.shape[0]):
                borders += [n.potential for n in neurons]
                ctx.draws.append([g.get_state() for g in _generators(x)])
                outs += [plan.spikes(now) for now in x[span].unbind(0)]
        ctx.save_for_backward(x, *borders)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor | None, None]:
        x, *borders = ctx.saved_tensors
        rerun, neurons = ctx.plan.rerun, _neurons(ctx.plan.rerun)
        after = [g.get_state() for g in _generators(x)]
        inputs: list[Tensor | None] = []
        later: list[Tensor | None] = [None] * len(neurons)
        for k, span in reversed([*enumerate(ctx.plan.cut(len(grads)))]):
            starts = [_leaf(u) for u in borders[k * len(neurons) : (k + 1) * len(neurons)]]
            now = x[span].detach().requires_grad_(ctx.needs_input_grad[1])
            _rewind(x, ctx.draws[k])
            with nullcontext() if k == 0 else rerun.no_sync(), torch.enable_grad():
                with rerun.sequence(), torch.autocast(**ctx.ambient):
                    for neuron, start in zip(neurons, starts, strict=True):
                        neuron.potential = start
                    outs = [rerun(step) for step in now.unbind(0)]
                    ends = [neuron.potential for neuron in neurons]
                _pull([*outs, *ends], [*grads[span], *later])
            later = [None if start is None else start.grad for start in starts]
            inputs.insert(0, now.grad)
        _rewind(x, after)
        return None, _joined(inputs), None


def _neurons(view: View) -> list[StepLIF]:
    return [m for m in view.module.modules() if isinstance(m, StepLIF)]


def _leaf(potential: Tensor | None) -> Tensor | None:
    return None if potential is None else potential.detach().requires_grad_()


def _pull(outs: list[Tensor | None], grads: list[Tensor | None]) -> None:
    """Backpropagate `grads` from those of `outs` that have a gradient and a graph."""
    given = [
        (out, grad)
        for out, grad in zip(outs, grads, strict=True)
        if out is not None and grad is not None and out.requires_grad
    ]
    if given:
        torch.autograd.backward([out for out, _ in given], [grad for _, grad in given])


def _joined(inputs: list[Tensor | None]) -> Tensor | None:
    found = [grad for grad in inputs if grad is not None]
    return torch.cat(found) if found else None


def _autocast(x: Tensor) -> dict[str, Any]:
    # The backward may run in a thread of autograd's, whose autocast state is not the caller's.
    kind = x.device.type
    return {
        "device_type": kind,
        "enabled": torch.is_autocast_enabled(kind),
        "dtype": torch.get_autocast_dtype(kind),
        "cache_enabled": torch.is_autocast_cache_enabled(),
    }


def _generators(x: Tensor) -> list[Generator]:
    """Return the generators that dropout draws from: a recomputation must repeat its masks."""
    cuda = [torch.cuda.default_generators[x.device.index]] if x.is_cuda else []
    return [torch.default_generator, *cuda]


def _rewind(x: Tensor, states: list[Tensor]) -> None:
    for generator, state in zip(_generators(x), states, strict=True):
        generator.set_state(state)
