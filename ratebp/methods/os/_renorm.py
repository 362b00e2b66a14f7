"""Online spiking renormalisation: every time step is normalised by the running statistics.

With mean ``mu`` and variance ``var`` of one step's current ``I [B, C, ...]`` per channel, and the
running ones ``mu_run``, ``var_run`` as they were when the sequence began::

    out = weight (I - mu_run) / sqrt(var_run + eps) + bias
        = weight (r xhat + d) + bias,       xhat = (I - mu) / sqrt(var + eps)
    r = sqrt((var + eps) / (var_run + eps)),   d = (mu - mu_run) / sqrt(var_run + eps)

The backward takes r and d for constants and goes through xhat as batch norm's does. Training and
inference thus compute the same function of one sample.

Source: Zhu et al. 2024, ICLR, equations 8 to 12.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ratebp.errors import BindError
from ratebp.rules.handover import widened
from ratebp.rules.norms.batch_norm import BATCH_NORMS
from ratebp.rules.norms.inputs import refuse_input
from ratebp.views import Leaf

FALLBACKS = ("plain", "published")
STARTS = ("first_batch", "published")


class RenormStep(Leaf):
    """A batch norm under online spiking renormalisation, one time step a call.

    ::

        new_mu = (1/T) sum_t mu[t],   new_var = (1/T) sum_t (var[t] + mu[t]^2) - new_mu^2
        run <- run + momentum (new - run)                        once a sequence

    After step t the module's running statistics are those that a sequence of t steps leaves, so no
    call is needed at the end; within the sequence, what they were at its start is used.

    Args:
        norm: one of `BATCH_NORMS` with running statistics.
        safety: a step where sigma/sigma_run or its inverse exceeds this in any channel is
            normalised by its own statistics instead.
        fallback: the backward of such a step: "plain" batch norm's, or as "published", that of the
            renormalisation, which does not fit the forward.
        start: what a norm that has seen no batch does: "first_batch" is normalised by its own
            statistics, which become the running ones; "published" starts from mean 0, variance 1.
    """

    stateful = True

    def __init__(self, norm: _BatchNorm, safety: float, fallback: str, start: str) -> None:
        """Start with nothing seen."""
        super().__init__()
        self.norm = norm
        self.safety = safety
        self.fallback = fallback
        self.from_first = start == "first_batch"
        self.reset()

    def reset(self) -> None:
        """Forget the sequence; the running statistics are the model's and stay."""
        self.start: tuple[Tensor, Tensor, Tensor] | None = None
        self.sums: tuple[Tensor, Tensor, Tensor] | None = None

    def forward(self, c: Tensor) -> Tensor:
        """Return the renormalised current of this step, shape of `c`."""
        norm = self.norm
        refuse_input(norm, c)
        if not norm.training:
            frozen: Tensor = norm(c)
            return frozen
        with torch.no_grad():
            r, d = self._corrections(c.to(widened(c.dtype)))
            usual = ((r > self.safety) | (r < 1 / self.safety)).logical_not().all()
            one, zero = torch.ones_like(r), torch.zeros_like(d)
            shown_r, shown_d = torch.where(usual, r, one), torch.where(usual, d, zero)
        if self.fallback == "plain":
            return self._normalise(c, shown_r, shown_d)
        renormalised = self._normalise(c, r, d)
        with torch.no_grad():
            shift = self._normalise(c, shown_r, shown_d) - renormalised
        return renormalised + shift

    def _normalise(self, c: Tensor, r: Tensor, d: Tensor) -> Tensor:
        # Folded into batch norm's scale and shift, so that one tensor is kept, as for batch norm.
        norm = self.norm
        scale = r if norm.weight is None else norm.weight * r
        shift = d if norm.weight is None else norm.weight * d
        shift = shift if norm.bias is None else shift + norm.bias
        return F.batch_norm(c, None, None, scale, shift, training=True, eps=norm.eps)

    def _corrections(self, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return r and d of this step, and move the running statistics."""
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        if self.start is None:
            fresh = (norm.num_batches_tracked == 0) & self.from_first
            norm.num_batches_tracked.add_(1)
            self.start = (norm.running_mean.clone(), norm.running_var.clone(), fresh)
        var, mean = torch.var_mean(c, [n for n in range(c.dim()) if n != 1], correction=0)
        self._move(mean, var)
        start_mean, start_var, fresh = self.start
        inv_run = torch.rsqrt(start_var + norm.eps)
        r, d = torch.sqrt(var + norm.eps) * inv_run, (mean - start_mean) * inv_run
        return r.masked_fill(fresh, 1.0), d.masked_fill(fresh, 0.0)

    def _move(self, mean: Tensor, var: Tensor) -> None:
        norm = self.norm
        now = (torch.ones_like(mean), mean, var + mean**2)
        if self.sums is not None:
            now = (now[0] + self.sums[0], now[1] + self.sums[1], now[2] + self.sums[2])
        self.sums = now
        steps, means, squares = now
        new_mean = means / steps
        assert self.start is not None
        start_mean, start_var, fresh = self.start
        assert norm.num_batches_tracked is not None
        share = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
        share = (torch.ones_like(mean) * share).masked_fill(fresh, 1.0)
        for buffer, start, new in (
            (norm.running_mean, start_mean, new_mean),
            (norm.running_var, start_var, squares / steps - new_mean**2),
        ):
            assert buffer is not None
            buffer.copy_(start + share * (new - start))


def renorm(norm: nn.Module, path: str, safety: float, fallback: str, start: str) -> nn.Module:
    """Return what stands for `norm` under renormalisation: itself if it keeps no statistics.

    Raises:
        BindError: for a norm whose statistics cannot be renormalised, by place.
    """
    tracked = isinstance(norm, _BatchNorm) and norm.running_mean is not None
    if type(norm) in BATCH_NORMS and tracked:
        assert isinstance(norm, _BatchNorm)
        return RenormStep(norm, safety, fallback, start)
    batch = isinstance(norm, _BatchNorm) or next(norm.buffers(), None) is not None
    if not batch:
        return norm
    raise BindError(
        f"os cannot renormalise {type(norm).__name__} at `{path}`: it needs one running mean and "
        "variance per channel. Use BatchNorm1d/2d/3d with track_running_stats=True, a norm of each "
        "sample (LayerNorm, GroupNorm) or no norm there, or train with sltt."
    )
