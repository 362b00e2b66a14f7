"""What a model and a loss return: tensors of all samples, and one number with a graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ratebp.errors import BindError, InputError, OptionError
from ratebp.structures import Output, members, named_members

Loss = Callable[[Tensor, Tensor], Tensor]


def refuse_no_tensor(out: object, model: str) -> None:
    """Check that `out` is what a model of class `model` may return.

    Raises:
        BindError: for anything but a tensor, or tuples, lists and dicts of tensors.
    """
    found = named_members(out)
    wrong = next(((name, each) for name, each in found if not _has_a_mean(name, each)), None)
    if wrong is None and found:
        return
    what = f"an empty {type(out).__name__}"
    if wrong is not None:
        name, each = wrong
        what = f"{each.dtype} tensor" if isinstance(each, Tensor) else type(each).__name__
        what = f"a {type(out).__name__} with a {what} at {name}" if name else f"a {what}"
    raise BindError(
        f"the forward of {model} returns {what}, but a method trains outputs that are real tensors "
        "[B, ...]: one, or a tuple, a list or a dict of such. Return what the loss needs, and "
        "leave out what is no tensor."
    )


def _has_a_mean(name: str, member: object) -> bool:
    """Is it a tensor and, as one of several, of numbers that have a mean over time?"""
    return isinstance(member, Tensor) and (not name or member.is_floating_point())


def of_samples(out: Output, samples: int) -> Output:
    """Return the output `out` of a model if its first dimension is that of the `samples`.

    Raises:
        BindError: for any other shape, of any member.
    """
    for name, each in named_members(out):
        if not isinstance(each, Tensor) or each.dim() < 1 or each.shape[0] != samples:
            shape = tuple(each.shape) if isinstance(each, Tensor) else type(each).__name__
            raise BindError(
                f"the model's output{name} has shape {shape} for {samples} samples, so its first "
                "dimension is not that of the samples. A model is written for one time step, "
                "[B, ...] -> [B, K], and x is time-major, [T, B, ...]: keep the samples first; "
                "what is one number for all of them belongs into the loss."
            )
    return out


@dataclass(frozen=True)
class CheckedLoss:
    """A loss whose value every schedule may differentiate.

    Args:
        loss: ``loss(logits [B, ...], y) -> scalar``, of whatever the model returns.
        batch: B.
    """

    loss: Loss
    batch: int

    def __call__(self, logits: Output, y: Any) -> Tensor:
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
        value = self._of(of_samples(logits, self.batch), y)
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

    def _of(self, out: Output, y: Any) -> Any:
        if isinstance(out, Tensor):
            return self.loss(out, y)
        try:
            return self.loss(out, y)
        except (TypeError, AttributeError) as error:
            places = ", ".join(name for name, _ in named_members(out))
            raise OptionError(
                f"the loss {_name(self.loss)} cannot take what the model returns, a "
                f"{type(out).__name__} of {places} ({error}). Give a loss of that: "
                "loss=lambda out, y: F.cross_entropy(out[0], y) + ..., in which out is the "
                f"{type(out).__name__}."
            ) from error

    def _without_graph(self, logits: Output) -> str:
        if any(each.requires_grad for each in members(logits)):
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
