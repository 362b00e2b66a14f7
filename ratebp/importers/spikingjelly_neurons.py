"""Neurons of SpikingJelly as ours: IFNode, LIFNode, ParametricLIFNode with all settings.

With ``decay_input`` the published potential is ``v = u / tau``, so that the neuron is a `LIF` of
threshold ``tau * v_threshold`` and sharpness ``alpha / tau``. Potentials are counted from
``v_reset``, which lowers the threshold by as much.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from ratebp.errors import BindError
from ratebp.importers.layers import Gain
from ratebp.importers.pair import Pair, Stepper
from ratebp.importers.surrogates import SCALING, fires, surrogate_of
from ratebp.importers.tree import apart
from ratebp.neurons import LIF, PLIF
from ratebp.surrogates import Surrogate


def _settings(path: str, node: Any) -> tuple[float, str, Surrogate]:
    """Return threshold, reset and surrogate of a neuron, where these have a counterpart."""
    resting = 0.0 if node.v_reset is None else float(node.v_reset)
    threshold = float(node.v_threshold) - resting  # potentials are counted from v_reset
    if threshold <= 0:
        raise BindError(
            f"`{path}` has v_threshold={node.v_threshold} and v_reset={node.v_reset}: a neuron "
            "that fires at rest has no counterpart in ratebp. Let v_reset be below v_threshold."
        )
    function = copy.deepcopy(node.surrogate_function)
    if not fires(function):
        raise BindError(
            f"`{path}` has the surrogate {function} with spiking=False, so it gives no spikes. "
            "Call set_spiking_mode(True) on it before the import."
        )
    surrogate = surrogate_of(function)
    if surrogate is None:
        raise BindError(
            f"`{path}` has the surrogate {function}, whose derivative is none of "
            "ratebp.surrogates. Use ATan, Sigmoid, PiecewiseQuadratic, Rect, SoftSign(2) or "
            "SuperSpike(1)."
        )
    return threshold, "soft" if node.v_reset is None else "hard", surrogate


def _if(path: str, node: Any) -> nn.Module:
    threshold, reset, surrogate = _settings(path, node)
    return LIF(1.0, threshold, reset, node.detach_reset, surrogate.name, surrogate.alpha)


def _lif(path: str, node: Any) -> nn.Module:
    threshold, reset, surrogate = _settings(path, node)
    decay, name, alpha = 1 - 1 / node.tau, surrogate.name, surrogate.alpha
    if not node.decay_input:
        return LIF(decay, threshold, reset, node.detach_reset, name, alpha)
    if name in SCALING:
        tau = node.tau
        return LIF(decay, tau * threshold, reset, node.detach_reset, name, alpha / tau)
    neuron = LIF(decay, threshold, reset, node.detach_reset, name, alpha)
    return nn.Sequential(OrderedDict(gain=Gain(1 / node.tau), neuron=neuron))


def _plif(path: str, node: Any) -> nn.Module:
    threshold, reset, surrogate = _settings(path, node)
    if not node.decay_input:
        raise BindError(
            f"`{path}` is a ParametricLIFNode with decay_input=False, but ratebp.PLIF scales the "
            "current by the k that it learns, as published. Build it with decay_input=True."
        )
    neuron = PLIF(0.5, threshold, reset, node.detach_reset, surrogate.name, surrogate.alpha)
    neuron.w = node.w
    return neuron


NEURONS: dict[str, Callable[[str, Any], nn.Module]] = {
    "IFNode": _if,
    "LIFNode": _lif,
    "ParametricLIFNode": _plif,
}


def pair_of(path: str, node: Any, made: nn.Module, name: str) -> Pair:
    """Return the pair of `node`, of the class `name`, and `made`, which stands for it."""
    tau = f"tau={node.tau:g}, decay_input={node.decay_input}, " if name == "LIFNode" else ""
    settings = f"{tau}v_threshold={node.v_threshold:g}, v_reset={node.v_reset}"
    multi = node.step_mode == "m"

    def alone() -> Stepper:
        lone: Any = apart(node).train()
        lone.reset()
        lone.step_mode = "s"
        step: Stepper = lone
        return step

    def steps(out: Any) -> Sequence[Tensor]:
        return out.unbind(0) if multi else (out,)

    return Pair(path, f"{name}({settings})", made, _rheobase(node, name), alone, steps)


def _rheobase(node: Any, name: str) -> float:
    """Return the current that brings the neuron from rest to its threshold in one step."""
    threshold = float(node.v_threshold - (node.v_reset or 0.0))
    if name == "IFNode" or not node.decay_input:
        return threshold
    tau = node.tau if name == "LIFNode" else 1 / float(node.w.detach().sigmoid())
    return threshold * float(tau)
