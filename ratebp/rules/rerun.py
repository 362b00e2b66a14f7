"""What the forms of gradient checkpointing share: running a part again with the same result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import functional_call

from ratebp.errors import BindError
from ratebp.rules.neurons.lif import StepLIF
from ratebp.rules.norms.batch_norm import BATCH_NORMS, BatchNorm
from ratebp.rules.norms.inputs import as_it_is
from ratebp.views import Leaf


def rerun_norm(norm: nn.Module, path: str) -> nn.Module:
    """Return what stands for `norm` in the recomputation: itself if it keeps no statistics.

    Raises:
        BindError: for a norm with buffers that is none of torch's BatchNorm1d/2d/3d.
    """
    if type(norm) in BATCH_NORMS:
        return BatchNorm(norm, follows=False)
    if next(norm.buffers(), None) is not None:
        raise BindError(
            f"checkpointing has no rule for {type(norm).__name__} with running statistics at "
            f"`{path}`: recomputing it would update them twice. Use BatchNorm1d/2d/3d, "
            "track_running_stats=False or no norm there, or train with bptt_s."
        )
    return as_it_is(norm, path)


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


class Surroundings:
    """Autocast and random state of a forward, to be put back around its recomputation.

    Args:
        like: a tensor of the forward's device.
    """

    def __init__(self, like: Tensor) -> None:
        """Note what autocast is now."""
        # The backward may run in a thread of autograd's, whose autocast state is not the caller's.
        kind = like.device.type
        self._autocast: dict[str, Any] = {
            "device_type": kind,
            "enabled": torch.is_autocast_enabled(kind),
            "dtype": torch.get_autocast_dtype(kind),
            "cache_enabled": torch.is_autocast_cache_enabled(),
        }
        self._cuda = [like.device.index] if like.is_cuda else []
        self._draws: list[list[Tensor]] = []

    def _generators(self) -> list[Generator]:
        # Those that dropout draws from: a recomputation must repeat its masks.
        default: list[Generator] = [torch.default_generator]
        return default + [torch.cuda.default_generators[index] for index in self._cuda]

    def note(self) -> None:
        """Note the random state at the start of the next segment."""
        self._draws.append([g.get_state() for g in self._generators()])

    @contextmanager
    def recomputation(self) -> Iterator[None]:
        """Surround all segments of the recomputation; the random state is put back at the end."""
        before = [g.get_state() for g in self._generators()]
        try:
            yield
        finally:
            self._rewind(before)

    @contextmanager
    def segment(self, number: int) -> Iterator[None]:
        """Surround the recomputation of the segment `number`, which builds a graph."""
        self._rewind(self._draws[number])
        with torch.enable_grad(), torch.autocast(**self._autocast):
            yield

    def _rewind(self, states: list[Tensor]) -> None:
        for generator, state in zip(self._generators(), states, strict=True):
            generator.set_state(state)


def segments(timesteps: int, length: int) -> list[slice]:
    """Return the time steps in segments of `length`; the last one may be shorter."""
    return [slice(a, min(a + length, timesteps)) for a in range(0, timesteps, length)]


def refuse_changed(inputs: Sequence[Tensor], versions: Sequence[int]) -> None:
    """Raise BindError if an input of a part was changed in place since its forward."""
    if [each._version for each in inputs] != [*versions]:
        raise BindError(
            "the model changes its input in place or, where it is cut into layers, a tensor of an "
            "earlier layer: recomputed from the changed tensor it would do so twice. Write that "
            "operation out of place (x = x + y), use over='time', or train with bptt_s."
        )


def leaf_of(value: Any, wanted: bool = True) -> Any:
    """Return a tensor's values as a leaf that asks for a gradient if `wanted`; None for None."""
    return None if value is None else value.detach().requires_grad_(wanted)


def edge_of(out: Tensor | None) -> GradientEdge | None:
    """Return the gradient edge of `out`; unlike `out` itself it keeps no values alive."""
    return get_gradient_edge(out) if out is not None and out.requires_grad else None


def pull(edges: Sequence[GradientEdge | None], grads: Sequence[Tensor | None]) -> None:
    """Backpropagate `grads` into those of `edges` that have both."""
    pairs = [(e, g) for e, g in zip(edges, grads, strict=True) if e is not None and g is not None]
    if pairs:
        torch.autograd.backward([e for e, _ in pairs], [g for _, g in pairs])
