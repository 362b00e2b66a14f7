"""What a model and a loss return: one tensor of all samples, and one number with a graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ratebp.errors import BindError, InputError, OptionError

Loss = Callable[[Tensor, Tensor], Tensor]


def refuse_no_tensor(out: object, model: str) -> None:
    """Check that `out` is the one output of a model of class `model`.

    Raises:
        BindError: for a tuple, a dict, None or anything else that is no tensor.
    """
    if isinstance(out, Tensor):
        return
    what = type(out).__name__
    if isinstance(out, Mapping):
        what += f" of {', '.join(map(str, out))}"
    elif isinstance(out, tuple | list):
        what += f" of {len(out)}"
    raise BindError(
        f"the forward of {model} returns a {what}, but a method trains one output, a tensor "
        "[B, ...]. Return the logits alone; put several heads side by side with torch.cat and take "
        "them apart in the loss."
    )


def of_samples(out: Tensor, samples: int) -> Tensor:
    """Return the output `out` of a model if its first dimension is that of the `samples`.

    Raises:
        BindError: for any other shape.
    """
    if out.dim() < 1 or out.shape[0] != samples:
        raise BindError(
            f"the model's output has shape {tuple(out.shape)} for {samples} samples, so its first "
            "dimension is not that of the samples. A model is written for one time step, "
            "[B, ...] -> [B, K], and x is time-major, [T, B, ...]: keep the samples first."
        )
    return out


@dataclass(frozen=True)
class CheckedLoss:
    """A loss whose value every schedule may differentiate.

    Args:
        loss: ``loss(logits [B, ...], y) -> scalar``.
        batch: B.
    """

    loss: Loss
    batch: int

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the loss, a floating-point scalar.

        Raises:
            BindError: for logits whose first dimension is not B.
            InputError: for targets of another number of samples.
            OptionError: for a value that is no scalar, or has no graph where one is needed.
        """
        known = isinstance(y, Tensor) and y.dim() > 0
        if known and y.shape[0] != self.batch:
            raise InputError(
                f"the targets y have shape {tuple(y.shape)} for {self.batch} samples, but must be "
                "[B, ...], one for each sample and all time steps. Give one label a sample."
            )
        value: Any = self.loss(of_samples(logits, self.batch), y)
        if not isinstance(value, Tensor) or not value.is_floating_point():
            what = f"{value.dtype} tensor" if isinstance(value, Tensor) else type(value).__name__
            raise OptionError(
                f"the loss {_name(self.loss)} returned a {what}, but a method differentiates a "
                "floating-point tensor. Compute it of the logits by torch operations, without "
                ".item() or float()."
            )
        if value.dim() != 0:
            raise OptionError(
                f"the loss {_name(self.loss)} returned shape {tuple(value.shape)}, but must be a "
                "scalar. Use reduction='mean' (or 'sum'), or end it with .mean()."
            )
        if torch.is_grad_enabled() and not value.requires_grad:
            raise OptionError(self._without_graph(logits))
        return value

    def _without_graph(self, logits: Tensor) -> str:
        if logits.requires_grad:
            return (
                f"the loss {_name(self.loss)} has no graph back to the logits, so it would train "
                "nothing. Leave out .detach(), .item(), torch.no_grad() and argmax in it."
            )
        return (
            "the model's output has no graph, so there is nothing to train: all parameters that "
            "it depends on are frozen, or its forward uses .detach(), torch.no_grad() or argmax. "
            "Call requires_grad_(True) on what is to be trained, or ratebp.infer to predict."
        )


def _name(loss: object) -> str:
    return getattr(loss, "__name__", None) or repr(loss)
