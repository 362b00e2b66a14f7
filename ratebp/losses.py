"""Losses over time, independent of methods: `bound.step(x, y, loss=losses.get("tet"))`.

Any ``loss(logits [B, K], y) -> scalar`` is legal; each method says in `info.loss` what it hands to
it: the mean output, or each step's, whose losses it averages. The losses here that only make sense
in one of these ways say so (`Scoped`), and then a method which can do both does what the loss
says, and one which cannot refuses.

With logits ``o[t]`` of T steps, ``CE`` and ``MSE`` as means over batch (and classes)::

    mean output      CE(mean_t o[t], y)
    per step         (1/T) sum_t CE(o[t], y)                    >= that of the mean output
    mix              (1 - weight) CE(o, y) + weight MSE(o, target)
    tet              (1/T) sum_t mix(o[t]),  target 1 for all classes
    sum_output       CE(sum_t o[t], y): of a network that ends in a softmax, SHD's softmax sum

Sources: Deng et al. 2022, arXiv 2202.11946 (TET); Xiao et al. 2022, arXiv 2210.04195 (mix with
one-hot targets); Meng et al. 2023, arXiv 2302.14311 (mix with the constant 1).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ratebp.errors import OptionError
from ratebp.legal import is_number, number, one_of, whole

Loss = Callable[[Tensor, Tensor], Tensor]

ONE_HOT = "one_hot"
SCOPES = ("mean", "per_step")


@dataclass(frozen=True)
class Scoped:
    """A loss that is defined on the "mean" output only, or "per_step" only.

    Args:
        scope: one of the two.
        loss: of one ``[B, K]``.

    Raises:
        OptionError: for another scope.
    """

    scope: str
    loss: Loss = F.cross_entropy

    def __post_init__(self) -> None:
        """Refuse an unknown scope."""
        one_of("scope of a loss", self.scope, SCOPES)
        refuse_no_loss(self.loss)

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the loss of one output ``[B, K]``: a step's, or the mean over the steps."""
        return self.loss(logits, y)


@dataclass(frozen=True)
class Mix:
    """Cross entropy mixed with the squared distance to a target: ``(1 - w) CE + w MSE``.

    Args:
        weight: w, often called lambda, in [0, 1].
        target: "one_hot" of the class, or one number for all classes.

    Raises:
        OptionError: for a weight or a target out of range.
    """

    weight: float = 0.05
    target: str | float = ONE_HOT

    def __post_init__(self) -> None:
        """Refuse what is no mixture."""
        number("weight", self.weight, 0, 1, note=" (the share of a mixed loss)")
        if self.target != ONE_HOT and not is_number(self.target):
            raise OptionError(
                f"target={self.target!r} of a mixed loss must be {ONE_HOT!r} or a finite number."
            )

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the loss of ``logits [B, K]`` for classes ``y [B]`` or shares ``y [B, K]``."""
        entropy = F.cross_entropy(logits, y)
        return (1 - self.weight) * entropy + self.weight * self._distance(logits, y)

    def _distance(self, logits: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.target, str):
            shares = y if y.dim() == logits.dim() else F.one_hot(y, logits.shape[-1])
            return F.mse_loss(logits, shares.to(logits.dtype))
        return (logits - self.target).pow(2).mean()


@dataclass(frozen=True)
class OfTheSum:
    """Cross entropy of the sum over T steps, which is handed over as their mean."""

    timesteps: int

    def __post_init__(self) -> None:
        """Refuse what is no number of steps."""
        whole("timesteps of the loss sum_output", self.timesteps)

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the loss of mean outputs ``[B, K]``."""
        return F.cross_entropy(self.timesteps * logits, y)


def cross_entropy() -> Loss:
    """Cross entropy of whatever the method hands over: what `step` uses by default."""
    return F.cross_entropy


def mean_output() -> Loss:
    """Cross entropy of the mean output; methods that see one step only refuse it."""
    return Scoped("mean")


def per_step() -> Loss:
    """Mean over the steps of their cross entropies; methods of the mean output refuse it."""
    return Scoped("per_step")


def mix(weight: float = 0.05, target: str | float = ONE_HOT) -> Loss:
    """`Mix` of whatever the method hands over: OTTT's and OS's loss; SLTT's with target 1."""
    return Mix(weight, target)


def tet(weight: float = 1e-3, target: float = 1.0) -> Loss:
    """Temporal efficient training: `Mix` with a constant target, at every step."""
    return Scoped("per_step", Mix(weight, target))


def sum_output(timesteps: int) -> Loss:
    """Cross entropy of the sum of the outputs of T steps; methods that see one step refuse it."""
    return Scoped("mean", OfTheSum(timesteps))


def refuse_no_loss(loss: object) -> None:
    """Raise OptionError for a loss that cannot be called with logits: a name, or a class."""
    if isinstance(loss, type):
        raise OptionError(
            f"loss is the class {loss.__name__}. Give an object of it: {loss.__name__}()."
        )
    if not callable(loss):
        raise OptionError(
            f"loss={loss!r} cannot be called. Give a function of (logits, y) such as "
            f"F.cross_entropy, or ratebp.losses.get(name) with a name out of {', '.join(_MAKERS)}."
        )


_MAKERS: dict[str, Callable[..., Loss]] = {
    maker.__name__: maker for maker in (cross_entropy, mean_output, per_step, mix, tet, sum_output)
}


def names() -> tuple[str, ...]:
    """Names of all losses."""
    return tuple(_MAKERS)


def get(name: str, **options: Any) -> Loss:
    """Return the loss called `name` with the given options.

    Raises:
        OptionError: for an unknown name, an unknown option or a value out of range.
    """
    if name not in _MAKERS:
        raise OptionError.unknown("loss", name, _MAKERS)
    legal = inspect.signature(_MAKERS[name]).parameters
    for option in options:
        if option not in legal:
            raise OptionError.unknown(f"option of loss {name!r}", option, legal)
    return _MAKERS[name](**options)
