"""Backward shapes of the spike function, by name.

The forward of a spike is the Heaviside step, ``s = 1 if x >= 0 else 0`` with ``x = u - threshold``.
Its derivative is replaced by a smooth ``h'(x)`` of sharpness ``alpha``:

=============  ==========================================  ============  ==========================
name           h'(x)                                       peak          used by
=============  ==========================================  ============  ==========================
sigmoid        alpha * sig(alpha x) * (1 - sig(alpha x))   alpha / 4     rate-BP, OTTT (alpha 4)
triangle       max(0, alpha - alpha**2 * abs(x))           alpha         SLTT, TET, RGA (alpha 1)
atan           alpha/2 / (1 + (pi/2 * alpha * x)**2)       alpha / 2     Fang et al. 2021 (alpha 2)
rectangle      alpha where abs(x) < 1 / (2 alpha), else 0  alpha         STBP, Wu et al. 2018
fast_sigmoid   1 / (alpha * abs(x) + 1)**2                 1             SuperSpike; S-TLLR (100)
=============  ==========================================  ============  ==========================

All but ``fast_sigmoid`` (area ``2 / alpha``) integrate to 1 over x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ratebp.errors import OptionError
from ratebp.legal import one_of, positive


def _sigmoid(x: Tensor, alpha: float) -> Tensor:
    sig = torch.sigmoid(alpha * x)
    return alpha * sig * (1 - sig)


def _triangle(x: Tensor, alpha: float) -> Tensor:
    return (alpha - alpha**2 * x.abs()).clamp(min=0)


def _atan(x: Tensor, alpha: float) -> Tensor:
    return (alpha / 2) / (1 + (math.pi / 2 * alpha * x) ** 2)


def _rectangle(x: Tensor, alpha: float) -> Tensor:
    return alpha * (x.abs() < 1 / (2 * alpha)).to(x.dtype)


def _fast_sigmoid(x: Tensor, alpha: float) -> Tensor:
    return 1 / (alpha * x.abs() + 1) ** 2


_SHAPES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "sigmoid": _sigmoid,
    "triangle": _triangle,
    "atan": _atan,
    "rectangle": _rectangle,
    "fast_sigmoid": _fast_sigmoid,
}


def names() -> tuple[str, ...]:
    """Return the legal surrogate names."""
    return tuple(_SHAPES)


@dataclass(frozen=True)
class Surrogate:
    """A derivative for the spike function: a shape by `name` and its sharpness `alpha`.

    Raises:
        OptionError: for an unknown name, or an alpha that is not a positive finite number.
    """

    name: str = "sigmoid"
    alpha: float = 4.0

    def __post_init__(self) -> None:
        """Refuse what cannot be a surrogate."""
        if isinstance(self.name, Surrogate):
            raise OptionError(
                f"surrogate={self.name!r} must be a name out of {', '.join(_SHAPES)}, with `alpha` "
                "as a setting beside it."
            )
        one_of("surrogate", self.name, _SHAPES)
        positive("alpha", self.alpha, note=" (the sharpness)")

    def derivative(self, x: Tensor) -> Tensor:
        """Return h'(x), elementwise; `x` is the potential minus the threshold, any shape."""
        return _SHAPES[self.name](x, self.alpha)
