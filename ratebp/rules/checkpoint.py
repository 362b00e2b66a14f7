"""Leaves and forward of gradient checkpointing over time.

A sequence is cut into segments. The forward builds no graph and keeps the neurons' potentials at
the borders of the segments; the backward goes through the segments from the last to the first and
runs each again, this time with a graph, from the potentials that were kept. What is run so is a
whole view here, and one layer of it in `checkpoint_layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.func import functional_call

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


@dataclass(frozen=True)
class Part:
    """A part of the network, to be called once a time step, with neurons that carry potentials."""

    call: Callable[..., Any]
    module: nn.Module
    no_sync: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def neurons(self) -> list[StepLIF]:
        """The neurons of this part."""
        return [m for m in self.module.modules() if isinstance(m, StepLIF)]

    @contextmanager
    def sequence(self) -> Iterator[None]:
        """Start from rest, and leave nothing allocated behind."""
        self._reset()
        try:
            yield
        finally:
            self._reset()

    def __call__(self, leaves: dict[str, Tensor], now: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Run one time step, with the parameters that are named in `leaves` replaced by those."""
        out = functional_call(self.module, leaves, now) if leaves else self.call(*now)
        return out if isinstance(out, tuple) else (out,)

    def _reset(self) -> None:
        for leaf in self.module.modules():
            if isinstance(leaf, Leaf):
                leaf.reset()


@dataclass(frozen=True)
class Plan:
    """What runs without a graph, what runs again with one, and in segments of how many steps.

    With `returns` the gradients of the parameters go back to autograd as those of any function.
    Without, each segment adds its own to `.grad`.
    """

    first: Part
    again: Part
    segment: int
    returns: bool = False

    def cut(self, timesteps: int) -> list[slice]:
        """Return the segments."""
        return [slice(a, a + self.segment) for a in range(0, timesteps, self.segment)]

    def run(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run all time steps of `inputs` ``[T, B, ...]``; return the outputs ``[T, B, ...]``."""
        named = dict(self.again.module.named_parameters()) if self.returns else {}
        # Autograd calls the backward of a function only if an input of it asks for a gradient.
        anchor = torch.zeros((), requires_grad=True)
        tensors = (*inputs, *named.values())
        outs: tuple[Tensor, ...] = _Segments.apply(  # type: ignore[no-untyped-call]
            self, list(named), len(inputs), anchor, *tensors
        )
        return outs


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
    again = Part(rerun, rerun.module, rerun.no_sync)
    (outs,) = Plan(Part(spikes, spikes.module), again, segment).run(x)
    return outs.unbind(0)


class _Segments(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, plan: Plan, names: list[str], count: int, anchor: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        # Views of inputs would say that they need a gradient, and have no graph to give it.
        inputs, neurons = [each.detach() for each in tensors[:count]], plan.first.neurons
        versions = [each._version for each in inputs]
        borders: list[Tensor | None] = []
        outs: list[Tensor] = []
        ctx.plan, ctx.names, ctx.count = plan, names, count
        ctx.ambient, ctx.draws = _autocast(inputs[0]), []
        with plan.first.sequence():
            for span in plan.cut(len(inputs[0])):
                borders += [n.potential for n in neurons]
                ctx.draws.append([g.get_state() for g in _generators(inputs[0])])
                for t in range(len(inputs[0]))[span]:
                    now = plan.first({}, tuple(each.select(0, t) for each in inputs))
                    outs = outs or [o.new_empty(len(inputs[0]), *o.shape) for o in now]
                    for whole, out in zip(outs, now, strict=True):
                        whole.select(0, t).copy_(out)
        _refuse_changed(inputs, versions)
        ctx.save_for_backward(*tensors, *borders)
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        plan, count, given = ctx.plan, ctx.count, ctx.count + len(ctx.names)
        inputs, params, borders = _split(ctx.saved_tensors, count, given)
        neurons, device = plan.again.neurons, inputs[0]
        after = [g.get_state() for g in _generators(device)]
        wanted = ctx.needs_input_grad[4:]
        leaves = [_leaf(p, w) for p, w in zip(params, wanted[count:], strict=True)]
        found: list[list[Tensor | None]] = []
        later: list[Tensor | None] = [None] * len(neurons)
        for k, span in reversed([*enumerate(plan.cut(len(grads[0])))]):
            starts = [_leaf(u) for u in borders[k * len(neurons) : (k + 1) * len(neurons)]]
            now = [_leaf(x[span], w) for x, w in zip(inputs, wanted, strict=False)]
            _rewind(device, ctx.draws[k])
            with nullcontext() if k == 0 else plan.again.no_sync(), torch.enable_grad():
                with plan.again.sequence(), torch.autocast(**ctx.ambient):
                    for neuron, start in zip(neurons, starts, strict=True):
                        neuron.potential = start
                    steps = zip(*(x.unbind(0) for x in now), strict=True)
                    table = dict(zip(ctx.names, leaves, strict=True))
                    outs = [out for step in steps for out in plan.again(table, step)]
                    ends = [neuron.potential for neuron in neurons]
                into = [g for step in zip(*(g[span] for g in grads), strict=True) for g in step]
                _pull([*outs, *ends], [*into, *later])
            later = [None if start is None else start.grad for start in starts]
            found.insert(0, [x.grad for x in now])
        _rewind(device, after)
        joined = [_joined(each) for each in zip(*found, strict=True)]
        return (None, None, None, None, *joined, *(leaf.grad for leaf in leaves))


def _refuse_changed(inputs: list[Tensor], versions: list[int]) -> None:
    if [each._version for each in inputs] != versions:
        raise BindError(
            "the model changes its input in place or, where it is cut into layers, a tensor of an "
            "earlier layer: recomputed from the changed tensor it would do so twice. Write that "
            "operation out of place (x = x + y), use over='time', or train with bptt_s."
        )


def _split(saved: tuple[Any, ...], *places: int) -> list[tuple[Any, ...]]:
    return [saved[a:b] for a, b in pairwise((0, *places, len(saved)))]


def _leaf(value: Any, wanted: bool = True) -> Any:
    return None if value is None else value.detach().requires_grad_(wanted)


def _pull(outs: list[Tensor | None], grads: list[Tensor | None]) -> None:
    """Backpropagate `grads` from those of `outs` that have a gradient and a graph."""
    given = [
        (out, grad)
        for out, grad in zip(outs, grads, strict=True)
        if out is not None and grad is not None and out.requires_grad
    ]
    if given:
        torch.autograd.backward([out for out, _ in given], [grad for _, grad in given])


def _joined(inputs: tuple[Tensor | None, ...]) -> Tensor | None:
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
