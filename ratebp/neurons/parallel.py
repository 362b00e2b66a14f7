"""Parallel spiking neurons: no reset, so that a matrix product computes all time steps at once.

Source: Fang et al., NeurIPS 2023, arXiv 2304.12760; defaults and initial values are those of the
paper's code, whose bias is ``-threshold``.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from ratebp.legal import number, positive, whole
from ratebp.neurons.base import Neuron
from ratebp.surrogates import Surrogate


class PSN(Neuron):
    """A layer of parallel spiking neurons: every step sees all steps, the future included.

    ::

        h[t] = sum_j weight[t, j] I[j],   s[t] = 1 if h[t] >= threshold[t] else 0

    One matrix a layer, so T is fixed, and only methods of layout "multi" can run it.

    Args:
        timesteps: T.
        threshold: all thresholds before training, positive.
        surrogate: name of the backward shape, see `ratebp.surrogates`.
        alpha: sharpness of that shape.

    Attributes:
        weight: ``[T, T]``, drawn from torch's generator.
        threshold: ``[T]``.

    Raises:
        OptionError: for a value outside its range or an unknown name.
    """

    layouts: ClassVar[tuple[str, ...]] = ("multi",)

    def __init__(
        self, timesteps: int, threshold: float = 1.0, surrogate: str = "atan", alpha: float = 2.0
    ) -> None:
        """Check the constants and draw the weights."""
        super().__init__()
        whole("timesteps", timesteps)
        positive("threshold", threshold)
        self.timesteps = timesteps
        self.surrogate = Surrogate(surrogate, alpha)
        self.weight = nn.Parameter(torch.empty(timesteps, timesteps))
        self.threshold = nn.Parameter(torch.full((timesteps,), float(threshold)))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def mixing(self) -> Tensor:
        """Return the matrix that mixes the time steps, ``[T, T]``."""
        return self.weight

    def extra_repr(self) -> str:
        """Show the constants in the model's printout."""
        return f"timesteps={self.timesteps}, {_shown(self.surrogate)}"


class MaskedPSN(PSN):
    """A PSN that looks back at `order` steps at most, the present one included.

    ::

        M = masking band + (1 - masking),   band[t, j] = 1 where j <= t < j + order, else 0
        h[t] = sum_j M[t, j] weight[t, j] I[j]

    At masking 1 it sees no future. The paper raises masking from 0 (a PSN) to 1 while it trains:
    call `mask` between updates. Bound views follow, and the state dict holds it.

    Args:
        timesteps: T.
        order: steps that a step sees, at least 1.
        masking: in [0, 1].
        threshold: all thresholds before training, positive.
        surrogate: name of the backward shape, see `ratebp.surrogates`.
        alpha: sharpness of that shape.

    Raises:
        OptionError: for a value outside its range or an unknown name.
    """

    masking: Tensor
    band: Tensor

    def __init__(
        self,
        timesteps: int,
        order: int = 2,
        masking: float = 1.0,
        threshold: float = 1.0,
        surrogate: str = "atan",
        alpha: float = 2.0,
    ) -> None:
        """Check the constants and draw the weights."""
        super().__init__(timesteps, threshold, surrogate, alpha)
        whole("order", order)
        self.order = order
        band = torch.ones(timesteps, timesteps).tril().triu(1 - order)
        self.register_buffer("band", band, persistent=False)
        self.register_buffer("masking", torch.zeros(()))
        self.mask(masking)

    def mask(self, masking: float) -> None:
        """Set the masking, in [0, 1]."""
        self.masking.fill_(number("masking", masking, 0, 1))

    def mixing(self) -> Tensor:
        """Return the masked matrix, ``[T, T]``."""
        return self.weight * (self.masking * self.band + (1 - self.masking))

    def extra_repr(self) -> str:
        """Show the constants in the model's printout."""
        return f"{super().extra_repr()}, order={self.order}"


class SlidingPSN(Neuron):
    """A PSN with the same `order` weights at every step: any T, and step by step.

    ::

        h[t] = sum_{i < order} weight[i] I[t - order + 1 + i]
        s[t] = 1 if h[t] >= threshold else 0

    Currents before the first step are 0. The weights start at ``..., 1/4, 1/2, 1``.

    Args:
        order: steps that a step sees, the present one included, at least 1.
        threshold: the threshold before training, positive.
        surrogate: name of the backward shape, see `ratebp.surrogates`.
        alpha: sharpness of that shape.

    Attributes:
        weight: ``[order]``, that of the present step last.
        threshold: a scalar.

    Raises:
        OptionError: for a value outside its range or an unknown name.
    """

    def __init__(
        self, order: int = 2, threshold: float = 1.0, surrogate: str = "atan", alpha: float = 2.0
    ) -> None:
        """Check the constants and set the parameters."""
        super().__init__()
        whole("order", order)
        positive("threshold", threshold)
        self.order = order
        self.surrogate = Surrogate(surrogate, alpha)
        self.weight = nn.Parameter(0.5 ** torch.arange(order - 1.0, -1.0, -1.0))
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))

    def mixing(self, timesteps: int) -> Tensor:
        """Return the matrix that mixes `timesteps` steps, ``[T, T]``, constant on its diagonals."""
        steps = torch.arange(timesteps, device=self.weight.device)
        age = steps.unsqueeze(1) - steps
        seen = (age >= 0) & (age < self.order)
        place = (self.order - 1 - age).clamp(0, self.order - 1)
        return self.weight.index_select(0, place.flatten()).view_as(age) * seen

    def extra_repr(self) -> str:
        """Show the constants in the model's printout."""
        return f"order={self.order}, {_shown(self.surrogate)}"


def _shown(surrogate: Surrogate) -> str:
    return f"surrogate={surrogate.name!r}, alpha={surrogate.alpha}"
