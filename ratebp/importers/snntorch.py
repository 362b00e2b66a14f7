"""Models of snnTorch (1.0): `Leaky` neurons swapped, loops over time steps written for one.

The package itself is never imported: its modules are known by their classes' names, and run as
they were given. Its neurons hand their potential on; `torch.fx` follows it through the forward. Its
reset is detached, and with ``reset_mechanism="subtract"`` it does not decay: an `UndecayedLIF`.
Constants of neurons are no entries of our `state_dict`; all other keys stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.errors import BindError
from ratebp.importers.following import Handed
from ratebp.importers.loops import follow
from ratebp.importers.pair import Pair, Stepper
from ratebp.importers.probe import probe
from ratebp.importers.proof import in_float64, prove
from ratebp.importers.report import Proof
from ratebp.importers.surrogates import surrogate_of
from ratebp.importers.tree import apart, copy_sharing_tensors
from ratebp.importers.unrolled import Steps, of_length, written
from ratebp.neurons import LIF, UndecayedLIF

PACKAGE = "snntorch"


def from_snntorch(
    model: nn.Module,
    x: Tensor | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    timesteps: int = 4,
    show: Callable[[str], object] | None = print,
) -> nn.Module:
    """Return the one-step model of ours that is `model`, proven by its spikes.

    Weights and buffers of layers are shared and their `state_dict` keys stay; the source is not
    changed.

    Args:
        model: built with `snntorch.Leaky`: its forward is one time step, with potentials kept by
            neurons or handed on, or loops over time steps.
        x: the probe batch ``[T, B, ...]``; drawn if absent.
        input_shape: of one sample of a drawn batch; if absent, one that the source runs with.
        timesteps: T of a drawn batch.
        show: is given the table of the proof; None for none.

    Raises:
        BindError: for a module, a setting or a forward that has no counterpart, by its name, and
            for a model whose spikes are not all equal, by the first layer that differs.
        InputError: when no probe batch is given and none can be found.
    """
    made, proof = proven(model, x, input_shape=input_shape, timesteps=timesteps)
    if show is not None:
        show(str(proof))
    return made


def proven(
    model: nn.Module,
    x: Tensor | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    timesteps: int = 4,
) -> tuple[nn.Module, Proof]:
    """Do what `from_snntorch` does; return the proof as well.

    Raises:
        BindError: as `from_snntorch`.
        InputError: as `from_snntorch`.
    """
    instead: dict[int, nn.Module] = {}
    pairs = []
    for path, module in model.named_modules():
        if type(module).__module__.startswith(f"{PACKAGE}."):
            instead[id(module)] = _neuron(path, module)
            pairs.append(_pair(path, module, instead[id(module)]))
    if not pairs:
        raise BindError(
            f"{type(model).__name__} has no neuron of snnTorch. Give a model with snntorch.Leaky."
        )
    tuples = frozenset(pair.path for pair in pairs if _gives_two(model.get_submodule(pair.path)))
    handed: dict[int, nn.Module] = {key: Handed() for key in instead}
    given = timesteps if x is None else len(x)
    steps = follow(copy_sharing_tensors(model, handed), tuples, given)
    made = copy_sharing_tensors(model, instead)
    if steps is not None:
        made = written(made, steps.step.graph)
    run = _runner(steps)
    batch = probe(model, x, input_shape, timesteps, run)
    held = None if steps is None else steps.step.timesteps
    if steps is not None and held is not None:
        batch = of_length(batch, held, constant=not steps.timed)
    title = f"{type(model).__name__} of snnTorch"
    return made, prove(model, made, pairs, run, batch, title, [*_notes(model, steps)])


def _gives_two(neuron: Any) -> bool:
    return bool(neuron.output) or not neuron.init_hidden


def _neuron(path: str, node: Any) -> nn.Module:
    """Return ours with the settings of a `Leaky`."""
    if type(node).__name__ != "Leaky":
        raise BindError(
            f"`{path}` is a {type(node).__name__} of snnTorch, which has no counterpart in ratebp. "
            "Imported is Leaky; for a current of its own or recurrent weights write the model with "
            "ratebp's neurons (Recurrent, ALIF)."
        )
    refused = {
        "learn_beta=True": isinstance(node.beta, nn.Parameter),
        "learn_threshold=True": isinstance(node.threshold, nn.Parameter),
        "learn_graded_spikes_factor=True": isinstance(node.graded_spikes_factor, nn.Parameter),
        "beta for each neuron": node.beta.numel() != 1,
        "threshold for each neuron": node.threshold.numel() != 1,
        "graded_spikes_factor": bool((node.graded_spikes_factor != 1).any()),
        "inhibition=True": bool(node.inhibition),
        "state_quant": bool(node.state_quant),
        "reset_mechanism='none'": node.reset_mechanism == "none",
        "reset_mechanism='subtract' with reset_delay=False": node.reset_mechanism == "subtract"
        and not node.reset_delay,
    }
    found = [setting for setting, there in refused.items() if there]
    if found:
        raise BindError(
            f"`{path}` has {found[0]}, which no neuron of ratebp has. Imported are the "
            "reset_mechanism 'zero' and 'subtract' with one constant beta and threshold a layer; "
            "a decay that is learned is ratebp.PLIF, a threshold ratebp.TLIF."
        )
    surrogate = surrogate_of(node.spike_grad)
    if surrogate is None:
        raise BindError(
            f"`{path}` has a spike_grad whose derivative is none of ratebp.surrogates. Use "
            "surrogate.atan, sigmoid or fast_sigmoid of snntorch."
        )
    shape = surrogate.name, surrogate.alpha
    decay, threshold = float(node.beta.clamp(0, 1)), float(node.threshold)
    if node.reset_mechanism == "zero":
        return LIF(decay, threshold, "hard", bool(node.reset_delay), *shape)
    if decay == 1:  # nothing decays
        return LIF(decay, threshold, "soft", True, *shape)
    return UndecayedLIF(decay, threshold, True, *shape)


def _pair(path: str, node: Any, made: nn.Module) -> Pair:
    settings = f"beta={float(node.beta):.4g}, threshold={float(node.threshold):.4g}"
    source = f"Leaky({settings}, {node.reset_mechanism})"

    def alone() -> Stepper:
        lone: Any = apart(node)
        lone.reset_mem()

        def step(current: Tensor) -> Tensor:
            out = lone(current)
            spikes: Tensor = out[0] if _gives_two(lone) else out
            return spikes.double()

        return step

    def steps(out: Any) -> Sequence[Tensor]:
        return (out[0],) if _gives_two(node) else (out,)

    return Pair(path, source, made, float(node.threshold), alone, steps)


def _runner(steps: Steps | None) -> Callable[[nn.Module, Tensor], Any]:
    """Return what runs a copy of the source from rest and sums its outputs over time."""

    def run(net: nn.Module, x: Tensor) -> Any:
        for module in net.modules():
            if type(module).__module__.startswith(f"{PACKAGE}."):
                module.reset_mem()  # type: ignore[operator]
                module.register_forward_hook(lambda layer, given, out: in_float64(out))
        pick = None if steps is None else steps.pick
        if steps is None or steps.step.timesteps is None:
            return torch.stack([_picked(net(now), pick) for now in x.unbind(0)]).sum(0)
        out = _picked(net(x if steps.timed else x[0]), pick)
        if isinstance(out, list | tuple):
            out = torch.stack([*out])
        return out.sum(0) if steps.stacked else out * steps.step.timesteps

    return run


def _picked(out: Any, pick: int | None) -> Any:
    return out if pick is None else out[pick]


def _notes(model: nn.Module, steps: Steps | None) -> Iterator[str]:
    yield "a neuron there fires above its threshold, in ratebp at it: they differ on ties alone"
    if steps is None:
        return
    yield f"its forward {steps.step.style}; rewritten for one time step"
    if steps.dropped:
        yield f"not returned: {', '.join(steps.dropped)}"
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        yield "batch norm there is over each step's batch: bptt_s trains the same"
