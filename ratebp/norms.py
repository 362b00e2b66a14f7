"""Norms that spiking networks are built with, beside torch's own.

=============  ========================================================  =======================
name           what                                                      source
=============  ========================================================  =======================
batch norm     `nn.BatchNorm2d`: statistics over T*B in the layout       Ioffe & Szegedy 2015
               "multi", of each step in the layout "single"
tdBN           the same, its weight starting at alpha * threshold        Zheng et al. 2021
TEBN           batch norm, then a factor p[t] of each step               Duan et al. 2022
BNTT           a batch norm of its own for each step, without a bias     Kim & Panda 2021
scaled WS      no norm: standardised weights, spikes times 2.74          Xiao et al. 2022
=============  ========================================================  =======================

Online renormalisation (OSR) is no layer but what the method `os` makes of batch norms. TEBN and
BNTT have parameters per step, so they are built for one T, and know which step it is only inside a
bound view.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp.errors import OptionError, UnboundError
from ratebp.legal import number, positive, whole

SPIKE_SCALE = 2.74
"""1 / sqrt(p (1 - p)), p = 0.1587: unit variance of spikes whose potential is N(0, 1)."""


def td_batch_norm(channels: int, threshold: float, alpha: float = 1.0) -> nn.BatchNorm2d:
    """Return tdBN: batch norm whose weight starts at ``alpha * threshold``."""
    norm = nn.BatchNorm2d(whole("channels", channels))
    start = number("alpha", alpha) * positive("threshold", threshold)
    nn.init.constant_(norm.weight, start)
    return norm


class TemporalNorm(nn.BatchNorm2d):
    """Base of batch norms with parameters per time step.

    Args:
        channels: C.
        timesteps: T, which a method must then be bound to.

    Raises:
        OptionError: for a number of time steps below 1.
    """

    def __init__(self, channels: int, timesteps: int) -> None:
        """Make batch norm's tensors."""
        super().__init__(whole("channels", channels))
        self.timesteps = whole(f"{type(self).__name__}.timesteps", timesteps)

    def forward(self, input: Tensor) -> Tensor:
        """Refuse: only a bound view knows which time step it is."""
        raise UnboundError(
            f"{type(self).__name__} has parameters of each time step and must know which it is. "
            "Bind a method, or call ratebp.infer(model, x)."
        )


class TEBN(TemporalNorm):
    """Temporal effective batch norm: ``p[t] * (weight * xhat + bias)``, p starting at 1.

    The statistics of ``xhat`` are batch norm's: over T*B in the layout "multi", of each step in
    the layout "single". Source: Duan et al. 2022, NeurIPS, who define the former.
    """

    def __init__(self, channels: int, timesteps: int) -> None:
        """Add the factors ``p [T]``."""
        super().__init__(channels, timesteps)
        self.step_scale = nn.Parameter(torch.ones(timesteps))


class BNTT(TemporalNorm):
    """Batch norm through time: statistics and ``weight [T, C]`` of each step, no bias.

    The same in both layouts. Source: Kim & Panda 2021, arXiv 2010.01729.
    """

    running_mean: Tensor
    running_var: Tensor
    momentum: float

    def __init__(self, channels: int, timesteps: int) -> None:
        """Replace batch norm's ``[C]`` by ``[T, C]``."""
        super().__init__(channels, timesteps)
        self.weight = nn.Parameter(torch.ones(timesteps, channels))
        self.register_parameter("bias", None)
        self.register_buffer("running_mean", torch.zeros(timesteps, channels))
        self.register_buffer("running_var", torch.ones(timesteps, channels))


class PaddedNorm(nn.Module):
    """Batch norm, then a border of one pixel with what the norm gives for an input of 0.

    ::

        border = bias - running_mean * weight / sqrt(running_var + eps)

    without a gradient and from the running statistics, which in training the same forward has just
    moved. A convolution behind it that pads nothing sees what it would see if the image were padded
    with zeros in front of the norm, as the two are one layer after training. Source: Yao et al.
    2024, ICLR (Spike-driven Transformer v2).

    Its forward reads statistics beside its norm, so methods which run a time step again after later
    ones have moved them refuse it (`bptt_ckpt`). In `rate_s`, whose statistics move at every step,
    the pass over mean rates takes the border that the last step left.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        """Make the norm."""
        super().__init__()
        self.bn = nn.BatchNorm2d(whole("channels", channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, C, H + 2, W + 2]`` for ``[B, C, H, W]``."""
        norm, inside = self.bn, self.bn(x)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        border = (norm.bias - norm.running_mean * scale).detach().view(1, -1, 1, 1)
        return F.pad(inside - border, (1, 1, 1, 1)) + border


class RateScale(nn.Module):
    """Signals divided by the root of their running firing rate, of each head: ``x / sqrt(r n)``.

    ::

        r = mean of x over samples, time steps and all dimensions behind the heads
        running_rate = r at the first batch, then 0.999 running_rate + 0.001 r

    In training the running rate is moved and used, in evaluation used; no gradient goes through it.
    A head that has never spiked is divided by the root of n alone. It is a norm: in the layout
    "multi" the rate is over all time steps, in "single" it is moved by each. Source: Shi et al.
    2024, CVPR (SpikingResformer), where the factor stands behind the product that `x` is in.

    Args:
        heads: how many rates there are.
        momentum: share of the new rate in the running one.
    """

    running_rate: Tensor
    num_batches_tracked: Tensor

    def __init__(self, heads: int, momentum: float = 1e-3) -> None:
        """Start without a rate."""
        super().__init__()
        self.momentum = number("momentum", momentum, 0, 1)
        self.register_buffer("running_rate", torch.zeros(whole("heads", heads)))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, heads, n, N]``, scaled."""
        if self.training:
            with torch.no_grad():
                now = x.mean((0, 2, 3), dtype=self.running_rate.dtype)
                first = self.num_batches_tracked == 0
                moved = torch.lerp(self.running_rate, now, self.momentum)
                self.running_rate.copy_(torch.where(first, now, moved))
                self.num_batches_tracked.add_(1)
        rate = torch.where(self.running_rate > 0, self.running_rate, 1.0).to(x.dtype)
        return x * torch.rsqrt(rate * x.shape[2]).view(-1, 1, 1)


def standardised(weight: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Return the weight that scaled weight standardisation computes with, same shape.

    ::

        gain * (W - mean) / sqrt(var * fan_in + eps)

    with mean and unbiased variance of each output channel (Brock et al. 2021; Xiao et al. 2022).
    A fan-in of 1 leaves nothing to standardise: the result is 0.

    Args:
        weight: ``[C', ...]``.
        gain: ``[C', 1, ...]``.
        eps: under the root.
    """
    dims = list(range(1, weight.dim()))
    fan_in = math.prod(weight.shape[1:])
    var, mean = torch.var_mean(weight, dims, correction=min(1, fan_in - 1), keepdim=True)
    return gain * (weight - mean) / torch.sqrt(var * fan_in + eps)


class ScaledWSConv2d(nn.Conv2d):
    """A 2d convolution with scaled weight standardisation, a gain per channel, and a bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        """Pad so that stride 1 keeps the size (odd kernels); gains start at 1."""
        whole("kernel", kernel)
        super().__init__(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        self.gain = nn.Parameter(torch.ones(outputs, 1, 1, 1))
        self.eps = 1e-4

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution ``[B, C', H', W']``."""
        weight = standardised(self.weight, self.gain, self.eps)
        return F.conv2d(input, weight, self.bias, self.stride, self.padding)


class ScaledWSLinear(nn.Linear):
    """A linear layer with scaled weight standardisation, a gain per output, and a bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Gains start at 1."""
        super().__init__(inputs, outputs)
        self.gain = nn.Parameter(torch.ones(outputs, 1))
        self.eps = 1e-4

    def forward(self, input: Tensor) -> Tensor:
        """Return ``[B, outputs]``."""
        return F.linear(input, standardised(self.weight, self.gain, self.eps), self.bias)


class LearnedScale(nn.Module):
    """A factor that is a parameter of another module, such as the threshold of a `TLIF`."""

    def __init__(self, factor: nn.Parameter) -> None:
        """Share the parameter."""
        super().__init__()
        if not isinstance(factor, nn.Parameter):
            raise OptionError(
                f"factor={factor!r} of LearnedScale is no nn.Parameter, so nothing would train it. "
                "Give it the other module's parameter, or use ratebp.norms.Scale for a constant."
            )
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Return ``factor * x``."""
        return x * self.factor


class Scale(nn.Module):
    """A constant factor, such as the 2.74 that follows each neuron of a norm-free network."""

    def __init__(self, factor: float = SPIKE_SCALE) -> None:
        """Keep the factor."""
        super().__init__()
        self.factor = number("factor", factor)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``factor * x``."""
        return x * self.factor

    def extra_repr(self) -> str:
        """Show the factor in the model's printout."""
        return f"{self.factor}"
