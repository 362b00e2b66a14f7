"""Dropout with one mask for all time steps of a sequence.

A mask that changed from step to step would blur what a neuron integrates, and a method of two
passes, or one that recomputes, needs the mask of the first pass in the second. So all views of one
binding share the masks of a sequence, each drawn where it is first needed.

Source: the published code of OTTT, SLTT, OS and NDOT draws one mask a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from ratebp.errors import BindError
from ratebp.views import Leaf

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
"""Those that multiply by a mask; `nn.AlphaDropout` and its kin do not."""


class Masks:
    """The masks of the sequence that runs, by the dropout's path; empty between sequences."""

    def __init__(self) -> None:
        """Start empty."""
        self.steps: tuple[int, int] | None = None
        self._masks: dict[str, Tensor] = {}

    @contextmanager
    def sequence(self, timesteps: int, batch: int) -> Iterator[None]:
        """Surround one sequence ``[T, B, ...]``: it starts without masks and leaves none."""
        self.steps = (timesteps, batch)
        self._masks.clear()
        try:
            yield
        finally:
            self.steps = None
            self._masks.clear()

    def rule(self, layer: _DropoutNd, path: str) -> nn.Module:
        """Return what stands for the dropout `layer` in every view: itself where it is off.

        Raises:
            BindError: for a dropout that is no product with a mask.
        """
        if layer.p == 0:
            return layer
        if not isinstance(layer, DROPOUTS):
            raise BindError(
                f"{type(layer).__name__} at `{path}` is no product with a mask, so it cannot be "
                "one for all time steps. Use nn.Dropout, nn.Dropout1d, 2d or 3d, or p=0."
            )
        return SequenceDropout(layer, path, self)

    def of(self, path: str, layer: nn.Module, step: Tensor) -> Tensor:
        """Return the mask of the dropout at `path` for one time step like `step`, ``[B, ...]``."""
        if path not in self._masks:
            with torch.no_grad():
                self._masks[path] = layer(torch.ones_like(step))
        return self._masks[path].to(step.dtype)


class SequenceDropout(Leaf):
    """``s * m`` with one mask ``m [B, ...]`` a sequence, for ``[B, ...]`` or folded ``[T*B, ...]``.

    Outside of a sequence, and in eval mode, it is the layer itself.
    """

    stateful = True
    takes_one_step = True

    def __init__(self, layer: nn.Module, path: str, masks: Masks) -> None:
        """Take the layer that draws, and the masks that all views share."""
        super().__init__()
        self.layer = layer
        self.path = path
        self.masks = masks

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with the sequence's mask, its shape.

        Raises:
            BindError: where the leading dimension is not that of the samples.
        """
        if self.masks.steps is None or not self.layer.training:
            alone: Tensor = self.layer(x)
            return alone
        timesteps, batch = self.masks.steps
        if x.shape[0] not in (batch, timesteps * batch):
            raise BindError(
                f"the dropout at `{self.path}` gets {tuple(x.shape)} for {batch} samples, so its "
                "mask could not be one for all time steps. Keep the samples in the first "
                "dimension, alone."
            )
        mask = self.masks.of(self.path, self.layer, x[:batch])
        if x.shape[0] == batch:
            return x * mask
        out: Tensor = (x.unflatten(0, (timesteps, batch)) * mask).flatten(0, 1)
        return out
