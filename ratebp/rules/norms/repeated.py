"""Norms before the first neurons, where one time step of a constant input stands for all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.nn.modules.batchnorm import _BatchNorm

from ratebp.views import Folded, Rule
from ratebp.wiring import Wiring


class RepeatedNorm(Folded):
    """A batch norm whose one step stands for T: its running variance is that of T B samples.

    Mean and variance of T equal batches are those of one, but an unbiased variance, which is what
    running statistics follow, divides by one sample less::

        factor = (T n / (T n - 1)) / (n / (n - 1))
    """

    stateful = True

    def __init__(self, variant: nn.Module, norm: _BatchNorm, timesteps: int) -> None:
        """Put `variant` right, which runs `norm` on `timesteps` steps or one."""
        super().__init__()
        self.variant = variant
        self._norm = (norm,)  # of the variant: one name for each parameter
        self.timesteps = timesteps

    def forward(self, c: Tensor) -> Tensor:
        """Return what the variant makes of ``[T*B, C, ...]``, or of ``[B, C, ...]``."""
        (norm,) = self._norm
        var, count = norm.running_var, c.numel() // c.shape[1]
        one_step = len(c) == self.batch and self.timesteps > 1
        if one_step and count == 1:  # torch's norms refuse a single sample
            c, one_step = torch.cat([c] * self.timesteps), False
        if not one_step or not norm.training or var is None:
            plain: Tensor = self.variant(c)
            return plain
        before = var.clone()
        out: Tensor = self.variant(c)
        # Torch's norm keeps the tensor for a backward that does not read it in training mode.
        with torch.no_grad(), _unsafe_preserve_version_counter(var):
            momentum = norm.momentum
            if momentum is None:
                assert norm.num_batches_tracked is not None
                momentum = 1.0 / float(norm.num_batches_tracked)
            factor = _unbiased(self.timesteps * count) / _unbiased(count)
            var.add_((var - before).add_(before, alpha=momentum), alpha=factor - 1)
        return out


def _unbiased(count: int) -> float:
    return count / (count - 1)


def repeated_rule(rule: Rule, wiring: Wiring, timesteps: int) -> Rule:
    """Return `rule` for norms, with what it makes of those before the first neurons put right.

    Args:
        rule: of the method.
        wiring: of the model.
        timesteps: T.
    """

    def wrapped(norm: nn.Module, path: str) -> nn.Module:
        variant = rule(norm, path)
        if path not in wiring.constant_input or not isinstance(norm, _BatchNorm):
            return variant
        return RepeatedNorm(variant, norm, timesteps)

    return wrapped
