"""How well the assumptions of rate-based backpropagation hold, layer by layer.

In one pass of BPTT (`bptt_m`, loss of the mean output), with ``E`` the mean over time, ``s``
spikes, ``c`` the current that arrives at a neuron and ``I`` what leaves a synapse::

    ds[t] = dL/ds[t]     arriving at the neuron's output, not through its own reset
    kappa[t] = sum over k <= t of ds[t]/dc[k] = h'(u[t] - threshold) rho[t]
    rho[1] = 1,   rho[t+1] = 1 + rho[t] (du[t+1]/du[t])

    A1, a neuron:   E[ds kappa] = E[ds] E[kappa]      the left side is E[dL/dc], always
    A2, a synapse:  E[dI s_in] = E[dI] E[s_in]        summed over samples and positions, so that
                                                      the left side is the weight's gradient / T
    A3, a synapse:  the weight's gradient by rate_m points along that by bptt_m

The cosine is that between the two sides. The correlation is Pearson's over time between the two
factors, with the covariances and the variances each added up over all products in the layer (units
and samples; for A2 weights, samples and positions) before the one is divided by the other::

    correlation = sum cov_t(a, b) / sqrt(sum var_t(a) * sum var_t(b))

It has a sign, and is 0 where one factor does not change over time. Where max pooling or dropout
stand between layers the definitions hold as they are.

Source: Yu et al., NeurIPS 2024, arXiv 2410.11488, theorem 1, which reports cosines near 1 and
correlations of about 1e-5 without saying how these are pooled.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ratebp import methods
from ratebp.activity import buffers_kept
from ratebp.dynamics import Dynamics
from ratebp.errors import BindError
from ratebp.needs import Need
from ratebp.neurons import LIF
from ratebp.ops import Geometry, geometry_of
from ratebp.phases import StepContext
from ratebp.reader import Reader
from ratebp.roles import Role, role_of
from ratebp.rules import ScanLIF
from ratebp.rules.neurons.exact import scan_neuron
from ratebp.rules.norms.temporal import norm_rule
from ratebp.schedules import Loss, layer_by_layer, whole_sequence
from ratebp.views import Leaf, view

Figures = dict[str, float | str]
"""Figures by name, for example ``a1_cosine``; in place of one that is undefined, why."""


def sensitivity(current: Tensor, dynamics: Dynamics) -> Tensor:
    """Return kappa: what a current common to all steps so far adds to each step's spike.

    Args:
        current: input current, ``[T, B, ...]``.
        dynamics: the layer's constants.
    """
    kappa = []
    rho = torch.ones_like(current[0])
    carry = torch.zeros_like(current[0])
    for now in current.unbind(0):
        u = carry + now
        h = dynamics.surrogate.derivative(u - dynamics.threshold)
        kappa.append(h * rho)
        rho = 1 + rho * dynamics.carry_grad(u, h)
        carry = dynamics.carry(u, (u >= dynamics.threshold).to(u.dtype))
    return torch.stack(kappa)


def _split(a: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over time and deviations from it, exactly 0 where `a` is constant."""
    offset = a - a[0]
    mean = offset.mean(0)
    return a[0] + mean, offset - mean


class _LayerSums:
    """Sums of one layer over its calls; a layer that is called twice counts like two."""

    def __init__(self, unseen: str) -> None:
        self.sums: Tensor | None = None
        self.unseen = unseen

    def add(self, right: Tensor, covariance: Tensor, var_a: Tensor, var_b: Tensor) -> None:
        # The left side is the right one and the covariance: so they differ by nothing else.
        left = right + covariance
        terms = (left * left, right * right, left * right, covariance, var_a, var_b)
        sums = torch.stack([term.sum() for term in terms])
        self.sums = sums if self.sums is None else self.sums + sums

    def figures(self, name: str) -> Figures:
        if self.sums is None:
            return {f"{name}_cosine": self.unseen, f"{name}_correlation": self.unseen}
        left, right, both, covariance, var_a, var_b = self.sums.tolist()
        spread = math.sqrt(var_a) * math.sqrt(var_b)
        correlation = covariance / spread if spread > 0 else 0.0
        return {f"{name}_cosine": _cosine(left, right, both), f"{name}_correlation": correlation}


def _cosine(left: float, right: float, both: float) -> float | str:
    if left == 0 or right == 0:
        return "one side is zero, so it has no direction"
    low, high = sorted((left, right))
    return both / high / math.sqrt(low / high)  # the product of the two may underflow


class _WatchedLIF(ScanLIF):
    """A LIF whose backward adds up the terms of A1."""

    def __init__(self, lif: LIF, timesteps: int, sides: _LayerSums) -> None:
        super().__init__(lif, timesteps)
        self.sides = sides

    def forward(self, current: Tensor) -> Tensor:
        spikes = super().forward(current)
        if spikes.requires_grad:
            steps = current.detach().double().unflatten(0, (self.timesteps, -1))
            kappa = sensitivity(steps, self.dynamics)
            spikes.register_hook(lambda grad: self._add(grad, kappa))
        return spikes

    def _add(self, grad: Tensor, kappa: Tensor) -> None:
        a, away_a = _split(grad.double().unflatten(0, (self.timesteps, -1)))
        b, away_b = _split(kappa)
        products = (away_a * away_b, away_a * away_a, away_b * away_b)
        self.sides.add(a * b, *(product.mean(0) for product in products))


class _WatchedSynapse(Leaf):
    """A synapse whose backward adds up the terms of A2."""

    def __init__(
        self, layer: nn.Module, geometry: Geometry, timesteps: int, sides: _LayerSums
    ) -> None:
        super().__init__()
        self.layer = layer
        self.geometry = geometry
        self.timesteps = timesteps
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        if out.requires_grad:
            inputs = x.detach()
            out.register_hook(lambda grad: self._add(grad, inputs))
        return out

    def _add(self, grad: Tensor, x: Tensor) -> None:
        a, away_a = _split(grad.double().unflatten(0, (self.timesteps, -1)))
        b, away_b = _split(x.double().unflatten(0, (self.timesteps, -1)))
        covariance = self._outer(away_a.flatten(0, 1), away_b.flatten(0, 1)) / self.timesteps
        # Each weight pairs its own places, so a factor's variance is summed over those alone.
        var_a = self._outer((away_a * away_a).mean(0), torch.ones_like(b))
        var_b = self._outer(torch.ones_like(a), (away_b * away_b).mean(0))
        self.sides.add(self._outer(a, b), covariance, var_a, var_b)

    def _outer(self, grad: Tensor, x: Tensor) -> Tensor:
        """Sum over samples and positions of gradient times input, in the weight's shape."""
        weight = self.layer.weight
        assert isinstance(weight, Tensor)
        _, product = self.geometry.gradients(grad, x, x.shape, weight.double(), (False, True))
        assert product is not None
        return product


class _Gradients(StepContext):
    """Keeps the gradients instead of adding them to the parameters' `.grad`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.params = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.found: dict[str, Tensor] = {}

    def backward(self, loss: Tensor) -> None:
        grads = torch.autograd.grad(loss, list(self.params.values()), allow_unused=True)
        pairs = zip(self.params, grads, strict=True)
        self.found = {name: grad.double() for name, grad in pairs if grad is not None}


def assumptions(
    model: nn.Module, x: Tensor, y: Tensor, *, loss: Loss = F.cross_entropy
) -> dict[str, Figures]:
    """Measure A1, A2 and A3 for one batch; see the module's text for the equations.

    Keeps kappa of all steps, in float64, in addition to what a step of `bptt_m` keeps: meant for
    small batches. The model is left as it was: buffers, gradients and flags.

    Args:
        model: a spiking model for one time step.
        x: inputs, time-major ``[T, B, ...]``.
        y: targets ``[B, ...]`` as `loss` wants them.
        loss: ``loss(logits [B, K], y) -> scalar``.

    Returns:
        By module path: for neurons ``a1_cosine`` and ``a1_correlation``; for synapses
        ``a2_cosine``, ``a2_correlation`` and ``a3_cosine``. Where a figure is undefined (a zero
        gradient, a synapse that is no plain linear or convolution, a model that `rate_m` refuses)
        the reason stands in its place.

    Raises:
        BindError: for a model whose neurons do not find the samples in their first dimension, or
            that changes a buffer in its forward: all time steps run at once.
    """
    Reader(model, "the measurement", {Need.NEURONS, Need.STILL}).sees(x)
    sides: dict[str, tuple[str, _LayerSums]] = {}

    def neuron(layer: nn.Module, path: str) -> nn.Module:
        if not isinstance(layer, LIF):
            sides[path] = "a1", _LayerSums(f"kappa is not defined for {type(layer).__name__}")
            return scan_neuron(layer, len(x))
        sides[path] = "a1", _LayerSums("no gradient reaches this neuron")
        return _WatchedLIF(layer, len(x), sides[path][1])

    def synapse(layer: nn.Module, path: str) -> nn.Module:
        geometry = geometry_of(layer)
        if geometry is None:
            sides[path] = "a2", _LayerSums(f"no rule for {type(layer).__name__}")
            return layer
        sides[path] = "a2", _LayerSums("no gradient reaches this synapse")
        return _WatchedSynapse(layer, geometry, len(x), sides[path][1])

    norm = norm_rule("multi", len(x))
    watched = view(model, {Role.NEURON: neuron, Role.SYNAPSE: synapse, Role.NORM: norm})
    exact = _Gradients(model)
    with buffers_kept(model):
        whole_sequence(layer_by_layer, watched, x, y, loss, exact, "mean")
    found = {path: each.figures(name) for path, (name, each) in sides.items()}
    for path, cosine in _directions(model, x, y, loss, exact.found).items():
        found.setdefault(path, {})["a3_cosine"] = cosine
    return found


def _directions(
    model: nn.Module, x: Tensor, y: Tensor, loss: Loss, exact: dict[str, Tensor]
) -> dict[str, float | str]:
    """A3 by synapse."""
    paths = [path for path, part in model.named_modules() if role_of(part) is Role.SYNAPSE]
    rate = _Gradients(model)
    try:
        with buffers_kept(model):
            methods.get("rate_m").bind(model, len(x)).step(x, y, loss=loss, context=rate)
    except BindError as error:
        return dict.fromkeys(paths, str(error))
    found: dict[str, float | str] = {}
    for path in paths:
        a, b = exact.get(f"{path}.weight"), rate.found.get(f"{path}.weight")
        if a is None or b is None:
            found[path] = "no gradient reaches this synapse"
        else:
            products = (a * a, b * b, a * b)
            found[path] = _cosine(*(float(product.sum()) for product in products))
    return found
