"""Batch norms of rate-based backpropagation: record in the spike pass, replay in the rate pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ratebp.errors import BindError
from ratebp.ops import affine_, along_channels, norm_recomputed, norm_replay, sum_of_steps
from ratebp.rules.handover import Handover, unread, widened
from ratebp.rules.norms.batch_norm import BATCH_NORMS, normalised
from ratebp.rules.norms.inputs import refuse_input, uses_batch
from ratebp.views import Folded, Leaf


class _RateNorm(Leaf):
    """A batch norm of the spike pass."""

    stateful = True

    def __init__(
        self,
        norm: nn.Module,
        record: Handover,
        timesteps: int,
        path: str,
        *,
        in_place: bool = False,
    ) -> None:
        """Refuse every norm but torch's own batch norms.

        Args:
            norm: the batch norm.
            record: shared with the twin in the rate pass.
            timesteps: T.
            path: of the norm, for messages.
            in_place: whether the output may take the memory of the input.
        """
        super().__init__()
        if type(norm) not in BATCH_NORMS:
            raise BindError(
                f"rate-based backpropagation has no rule for {type(norm).__name__} at `{path}`. "
                "Use BatchNorm1d/2d/3d or no norm there, or train with bptt_m, bptt_s, sltt or "
                "ottt_a, which take any norm."
            )
        assert isinstance(norm, _BatchNorm)
        self.norm = norm
        self.record = record
        self.timesteps = timesteps
        self.in_place = in_place

    def _normalised(self, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        norm = self.norm
        return normalised(norm, c, norm.weight, norm.bias, in_place=self.in_place)


class RecordNormScan(_RateNorm, Folded):
    """Statistics over ``T*B`` jointly, folded ``[T*B, C, ...]``; records ``xhat`` of the mean."""

    def forward(self, c: Tensor) -> Tensor:
        """Return the normalised activations."""
        steps = self.steps(c)
        xhat = sum_of_steps(steps, widened(c.dtype)).div_(len(steps))
        out, mean, inv_std = self._normalised(c)
        xhat.sub_(along_channels(mean, xhat)).mul_(along_channels(inv_std, xhat))
        self.record.put(xhat, inv_std)
        return out


class RecordStatistics(_RateNorm, Folded):
    """Statistics over ``T*B`` jointly, folded ``[T*B, C, ...]``; records nothing else."""

    def forward(self, c: Tensor) -> Tensor:
        """Return the normalised activations."""
        out, mean, inv_std = self._normalised(c)
        self.record.put(mean, inv_std)
        return out


class RecordNormStep(_RateNorm):
    """Statistics of each step alone; records their means over time.

    ::

        xhat = mean_t (c[t] - mu_t) / sigma_t,   inv_std = mean_t 1 / sigma_t
    """

    sums: tuple[Tensor, Tensor] | None = None

    def reset(self) -> None:
        """Start anew; the record stays for the rate pass."""
        self.sums = None

    def forward(self, c: Tensor) -> Tensor:
        """Return the normalised activations of this step."""
        norm, share, wide = self.norm, 1 / self.timesteps, c.to(widened(c.dtype))
        in_place = self.in_place or wide is not c
        now, _, inv_std = normalised(norm, wide, None, None, in_place=in_place)
        if self.sums is None:
            self.sums = (now * share, inv_std * share)
        elif torch.compiler.is_compiling():  # a graph must not change tensors it was given
            self.sums = (self.sums[0] + share * now, self.sums[1] + share * inv_std)
        else:
            self.sums[0].add_(now, alpha=share)
            self.sums[1].add_(inv_std, alpha=share)
        self.record.put(*self.sums)
        return affine_(now, norm.weight, norm.bias).to(c.dtype)


class RecordNormLastStep(RecordNormStep):
    """Each step's own statistics, of which the last step's are recorded, with eps added twice.

    What the published code of rate-BP computes in single-step mode, kept to reproduce its numbers::

        xhat = (mean_t c[t] - mu_T) / sqrt(sigma_T^2 + 2 eps)
    """

    def forward(self, c: Tensor) -> Tensor:
        """Return the normalised activations of this step."""
        out, mean, inv_std = normalised(self.norm, c, self.norm.weight, self.norm.bias)
        total = c / self.timesteps
        if self.sums is not None:
            total = self.sums[0] + total
        self.sums = (total, inv_std)
        twice = torch.rsqrt(inv_std**-2 + self.norm.eps)
        self.record.put((total - along_channels(mean, c)) * along_channels(twice, c), twice)
        return out


class ReplayNorm(Leaf):
    """The batch norm of the rate pass: its value is recorded, its gradient that of batch norm."""

    stateful = True

    def __init__(self, norm: nn.Module, record: Handover, *, centred: bool, unread: bool) -> None:
        """Share `record` with the twin in the spike pass.

        Args:
            norm: the batch norm.
            record: of the twin.
            centred: False where the recorded ``xhat`` has a mean of its own.
            unread: whether nobody reads the value.
        """
        super().__init__()
        assert isinstance(norm, _BatchNorm)
        self.norm = norm
        self.record = record
        self.centred = centred
        self.unread = unread

    def forward(self, c: Tensor) -> Tensor:
        """Return the mean normalised activation ``[B, C, ...]``; the value of `c` is not read."""
        refuse_input(self.norm, c)
        xhat, inv_std = self.record.take()
        offset = None if self.centred else xhat.mean([d for d in range(xhat.dim()) if d != 1])
        norm = self.norm
        return norm_replay(
            c,
            norm.weight,
            norm.bias,
            xhat,
            inv_std,
            offset=offset,
            frozen=not uses_batch(norm),
            value=unread(c) if self.unread else None,
        )


class ReplayRecomputedNorm(Leaf):
    """The rate pass's batch norm that recomputes ``xhat`` in the backward. No leaf reads it."""

    stateful = True

    def __init__(self, norm: nn.Module, record: Handover, origin: Handover) -> None:
        """Share `record` with a `RecordStatistics`, `origin` with the synapse before."""
        super().__init__()
        assert isinstance(norm, _BatchNorm)
        self.norm = norm
        self.record = record
        self.origin = origin

    def forward(self, c: Tensor) -> Tensor:
        """Return NaN of stride 0 in the shape of `c`."""
        refuse_input(self.norm, c)
        mean, inv_std = self.record.take()
        (origin,) = self.origin.take()
        norm = self.norm
        frozen = not uses_batch(norm)
        return norm_recomputed(c, norm.weight, norm.bias, mean, inv_std, origin, frozen=frozen)
