"""Norms with parameters per time step: how they run in the two layouts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.errors import BindError
from ratebp.norms import BNTT, TEBN, TemporalNorm
from ratebp.rules.norms.batch_norm import BATCH_NORMS, BatchNorm
from ratebp.rules.norms.inputs import as_it_is, as_torch, refuse_input
from ratebp.views import Leaf, Rule


def _batch_norm(norm: TEBN, c: Tensor) -> Tensor:
    refuse_input(norm, c)
    # The module's own forward refuses, since it does not know the step.
    return as_torch(norm, c)


class TebnScan(Leaf):
    """All time steps at once, folded ``[T*B, C, H, W]``, with statistics over T*B."""

    def __init__(self, norm: TEBN) -> None:
        """Take the norm."""
        super().__init__()
        self.norm = norm

    def forward(self, c: Tensor) -> Tensor:
        """Return the normalised and scaled activations, folded."""
        out = _batch_norm(self.norm, c)
        scale = self.norm.step_scale.repeat_interleave(len(out) // self.norm.timesteps)
        return out * scale.view(-1, 1, 1, 1)


class _StepNorm(Leaf):
    """One time step a call; the number of the step is a tensor, so that one graph serves all."""

    stateful = True

    def __init__(self, norm: TemporalNorm) -> None:
        """Start at the first step."""
        super().__init__()
        self.norm = norm
        self.reset()

    def reset(self) -> None:
        """Go back to the first step."""
        self.now: Tensor | None = None

    def advance(self, c: Tensor) -> Tensor:
        """Return the number of this step, ``[1]``, from 0."""
        last = self.now
        self.now = torch.zeros(1, dtype=torch.long, device=c.device) if last is None else last + 1
        return self.now


class TebnStep(_StepNorm):
    """One time step a call, ``[B, C, H, W]``, with the statistics of that step."""

    norm: TEBN

    def forward(self, c: Tensor) -> Tensor:
        """Return the normalised and scaled activations of this step."""
        scale = self.norm.step_scale.index_select(0, self.advance(c))
        return _batch_norm(self.norm, c) * scale


class BnttScan(Leaf):
    """All time steps at once, folded ``[T*B, C, H, W]``, each with its own statistics."""

    def __init__(self, norm: BNTT) -> None:
        """Take the norm."""
        super().__init__()
        self.norm = norm

    def forward(self, c: Tensor) -> Tensor:
        """Return the normalised activations, folded."""
        norm = self.norm
        steps = c.unflatten(0, (norm.timesteps, -1)).unbind(0)
        refuse_input(norm, steps[0])
        _count(norm)
        rows = (norm.running_mean.unbind(0), norm.running_var.unbind(0), norm.weight.unbind(0))
        return torch.cat(
            [
                F.batch_norm(now, mean, var, weight, None, norm.training, norm.momentum, norm.eps)
                for now, mean, var, weight in zip(steps, *rows, strict=True)
            ]
        )


class BnttStep(_StepNorm):
    """One time step a call, ``[B, C, H, W]``."""

    norm: BNTT

    def forward(self, c: Tensor) -> Tensor:
        """Return the normalised activations of this step."""
        norm, first = self.norm, self.now is None
        refuse_input(norm, c)
        here = self.advance(c)
        if first:
            _count(norm)
        mean, var, weight = (
            each.index_select(0, here).squeeze(0)
            for each in (norm.running_mean, norm.running_var, norm.weight)
        )
        out = F.batch_norm(c, mean, var, weight, None, norm.training, norm.momentum, norm.eps)
        if norm.training:
            norm.running_mean.index_copy_(0, here, mean.unsqueeze(0))
            norm.running_var.index_copy_(0, here, var.unsqueeze(0))
        return out


def _count(norm: BNTT) -> None:
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)


def norm_rule(layout: str, timesteps: int) -> Rule:
    """Return the rule for norms of a method that has none of its own: they stay what they are.

    Torch's batch norms run as `BatchNorm`, which is faster on a CPU.

    Args:
        layout: "multi" or "single".
        timesteps: T.
    """

    def rule(norm: nn.Module, path: str) -> nn.Module:
        if not isinstance(norm, TemporalNorm):
            return BatchNorm(norm) if type(norm) in BATCH_NORMS else as_it_is(norm, path)
        if norm.timesteps != timesteps:
            raise BindError(
                f"{type(norm).__name__} at `{path}` has parameters of {norm.timesteps} time steps, "
                f"but T={timesteps}. Build the model with timesteps={timesteps}, or run it with "
                f"T={norm.timesteps}."
            )
        if isinstance(norm, TEBN):
            return TebnScan(norm) if layout == "multi" else TebnStep(norm)
        assert isinstance(norm, BNTT)
        return BnttScan(norm) if layout == "multi" else BnttStep(norm)

    return rule
