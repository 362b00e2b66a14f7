"""Models that no view can stand for: wrapped, hooked, not initialised, without an input."""

from __future__ import annotations

import inspect

import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from ratebp.errors import BindError
from ratebp.neurons import Neuron
from ratebp.roles import Role, role_of

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")

_WRAPPERS = {
    "DataParallel": "torch.nn.DataParallel",
    "DistributedDataParallel": "DistributedDataParallel",
    "FullyShardedDataParallel": "FullyShardedDataParallel",
    "FSDPModule": "fully_shard",
    "OptimizedModule": "torch.compile",
}
"""Names of classes that wrap a model, and what made them. Names, as not every build has all."""

_INSIDE = (
    "Bind the inner model, and let the wrapper be put around each view: bind(model, timesteps, "
    "wrap=lambda net, builds_graph: ...), for example torch.compile(net), or "
    "DistributedDataParallel(net) if builds_graph else net"
)


def refuse_unfit(model: nn.Module) -> None:
    """Check that a view can stand for `model`.

    Raises:
        BindError: for what is no module; for a wrapper, a scripted or a quantized module, a lazy
            one that has no sizes yet, spectral norm and hooks, with the remedy for each.
    """
    if not isinstance(model, nn.Module):
        raise BindError(
            f"the model is a {type(model).__name__}, but must be an nn.Module: an instance, not "
            "its class or its state dict."
        )
    for path, module in model.named_modules():
        place = f"`{path}`" if path else "the model"
        _refuse_wrapper(place, module)
        _refuse_lazy(place, module)
        _refuse_spectral(place, module)
        _refuse_hooks(place, module)
        _refuse_replaced_forward(place, module, model)
        _refuse_own_neuron(place, module)


def _refuse_replaced_forward(place: str, module: nn.Module, whole: nn.Module) -> None:
    swapped = role_of(module) not in (None, Role.DROPOUT)
    if "forward" in module.__dict__ and (swapped or module is whole):
        raise BindError(
            f"{place} ({type(module).__name__}) had its forward replaced on the object, which "
            "stand-ins of its class do not know. Write a subclass with that forward instead."
        )


def _refuse_own_neuron(place: str, module: nn.Module) -> None:
    own = not f"{type(module).forward.__module__}.".startswith("ratebp.")
    if isinstance(module, Neuron) and own:
        raise BindError(
            f"{place} ({type(module).__name__}) is a neuron with a forward of its own, which no "
            "method runs: neurons hold constants, methods know how they run. Use one of "
            "ratebp's neurons as it is, or put what else the forward does into a module around it."
        )


def refuse_model(model: nn.Module) -> None:
    """Check that a view can stand for `model`, and that it takes an input.

    Raises:
        BindError: as `refuse_unfit` does, and when its forward takes none.
    """
    refuse_unfit(model)
    if not inspect.signature(model.forward).parameters:
        raise BindError(
            f"the forward of {type(model).__name__} takes no input, but a method hands it one "
            "tensor [B, ...] at each time step, or several. Let it take what the network sees."
        )


def single(method: str, what: str) -> str:
    """Return that `method` needs one input and one output, but the forward does `what`."""
    return (
        f"{method} needs a forward of one tensor that returns one, but this one {what}. Put them "
        "side by side with torch.cat and take them apart in forward or in the loss, or train with "
        "bptt_m, bptt_s, rate_m or sltt, which take several."
    )


def _refuse_wrapper(place: str, module: nn.Module) -> None:
    names = {cls.__name__ for cls in type(module).__mro__}
    wrapper = next((_WRAPPERS[name] for name in _WRAPPERS if name in names), None)
    if wrapper is not None:
        raise BindError(f"{place} is wrapped by {wrapper}, which a view cannot copy. {_INSIDE}.")
    if isinstance(module, torch.jit.ScriptModule):
        raise BindError(
            f"{place} is a ScriptModule, whose layers cannot be swapped. Bind the module that it "
            "was scripted or traced from."
        )
    if ".quantized." in f"{type(module).__module__}.":
        raise BindError(
            f"{place} is the quantized {type(module).__name__}, which has no gradient. Train the "
            "float model, and quantize it afterwards."
        )


def _refuse_lazy(place: str, module: nn.Module) -> None:
    if isinstance(module, LazyModuleMixin) and module.has_uninitialized_params():
        name = type(module).__name__
        raise BindError(
            f"{place} is a {name} without sizes yet. Call the layer once on a sample of what it "
            "will get, such as model.fc(torch.zeros(1, 512)), or write the layer with its sizes "
            f"({name.removeprefix('Lazy')}); then make the optimiser, and bind."
        )


def _refuse_spectral(place: str, module: nn.Module) -> None:
    if is_parametrized(module):
        chains = module.parametrizations.values()  # type: ignore[operator]
        if any(isinstance(each, parametrizations._SpectralNorm) for c in chains for each in c):
            raise BindError(
                f"{place} has spectral_norm, which moves its buffers each time the weight is read, "
                "so that a gradient would depend on how often a method reads it. Remove it with "
                "torch.nn.utils.parametrize.remove_parametrizations, or use weight_norm or "
                "orthogonal of torch.nn.utils.parametrizations."
            )


def _refuse_hooks(place: str, module: nn.Module) -> None:
    tables = [module.__dict__.get(name) for name in _HOOKS]
    hooks = [hook for table in tables if table for hook in table.values()]
    if not hooks:
        return
    if any(isinstance(hook, prune.BasePruningMethod) for hook in hooks):
        remedy = (
            "is pruned by torch.nn.utils.prune, which computes the weight in a hook. Make it "
            "permanent with prune.remove(layer, name), or mask the weight by a parametrization "
            "(torch.nn.utils.parametrize.register_parametrization)"
        )
    elif any(isinstance(hook, WeightNorm) for hook in hooks):
        remedy = (
            "has torch.nn.utils.weight_norm, which computes the weight in a hook. Call "
            "torch.nn.utils.remove_weight_norm(layer), then "
            "torch.nn.utils.parametrizations.weight_norm(layer)"
        )
    elif any(isinstance(hook, SpectralNorm) for hook in hooks):
        remedy = (
            "has torch.nn.utils.spectral_norm, which computes the weight in a hook. Call "
            "torch.nn.utils.remove_spectral_norm(layer), and use weight_norm or orthogonal of "
            "torch.nn.utils.parametrizations if it must be bounded"
        )
    else:
        remedy = (
            "carries hooks, which a view would run with stale closures. Remove them before bind; "
            "to watch a layer, give the model a module that does it, or read ratebp.activity"
        )
    raise BindError(f"{place} {remedy}.")
