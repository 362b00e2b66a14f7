"""Models of SpikingJelly (2.0 and 0.0.0.0.14): neurons swapped, layers made torch's own.

The package itself is never imported: its modules are known by their classes' names, and run as
they were given.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ratebp.errors import BindError
from ratebp.importers.layers import Voting
from ratebp.importers.loops import follow
from ratebp.importers.pair import Pair
from ratebp.importers.probe import probe
from ratebp.importers.proof import prove
from ratebp.importers.report import Proof
from ratebp.importers.spikingjelly_neurons import NEURONS, pair_of
from ratebp.importers.tree import copy_sharing_tensors, recast
from ratebp.importers.unrolled import Steps, UnrollingTracer, of_length, without_time, written

PACKAGE = "spikingjelly"
_SEQUENTIALS = ("MultiStepContainer", "SeqToANNContainer", "StepModeContainer")
_DROPOUTS: dict[str, type[nn.Module]] = {"Dropout": nn.Dropout, "Dropout2d": nn.Dropout2d}
_RENAMED = {f"ThresholdDependentBatchNorm{n}d": f"BatchNorm{n}d" for n in (1, 2, 3)}


def from_spikingjelly(
    model: nn.Module,
    x: Tensor | None = None,
    *,
    input_shape: Sequence[int] | None = None,
    timesteps: int = 4,
    show: Callable[[str], object] | None = print,
) -> nn.Module:
    """Return the one-step model of ours that is `model`, proven by its spikes.

    Weights and buffers are shared and `state_dict` keys stay; the source is not changed.

    Args:
        model: built with `spikingjelly.activation_based`, in single-step or multi-step mode, or
            with a forward that copies an image over T.
        x: the probe batch ``[T, B, ...]``; drawn if absent.
        input_shape: of one sample of a drawn batch; if absent, one that the source runs with.
        timesteps: T of a drawn batch.
        show: is given the table of the proof; None for none.

    Raises:
        BindError: for a module that has no counterpart, by its path, and for a model whose spikes
            are not all equal, by the first layer that differs and what causes it.
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
    """Do what `from_spikingjelly` does; return the proof as well.

    Raises:
        BindError: as `from_spikingjelly`.
        InputError: as `from_spikingjelly`.
    """
    instead, pairs = _counterparts(model)
    made = copy_sharing_tensors(model, instead)
    multi = _is_multi_step(model)
    steps = _one_step(made, multi, timesteps if x is None else len(x))
    if steps is not None:
        made = written(made, steps.step.graph)
    run = _runner(multi, steps)
    batch = probe(model, x, input_shape, timesteps, run)
    if steps is not None and steps.step.timesteps is not None:
        batch = of_length(batch, steps.step.timesteps, constant=not steps.timed)
    title = f"{type(model).__name__} of SpikingJelly"
    return made, prove(model, made, pairs, run, batch, title, [*_notes(model, multi, steps)])


def _of_package(module: nn.Module) -> str:
    """Return the name of the nearest class of the package that a module is, "" for any other."""
    for cls in type(module).__mro__:
        if cls.__module__.startswith(f"{PACKAGE}."):
            return cls.__name__
    return ""


def _counterparts(model: nn.Module) -> tuple[dict[int, nn.Module], list[Pair]]:
    """Return what stands for each module of the package, by its id, and the neurons' pairs."""
    instead: dict[int, nn.Module] = {}
    pairs: list[Pair] = []
    nested = []
    inside: set[int] = set()
    for path, module in model.named_modules():
        name = _of_package(module)
        if id(module) in inside or not name or _keeps_its_forward(module):
            continue
        if name in _SEQUENTIALS and isinstance(module, nn.Sequential):
            nested.append(module)
        elif name in NEURONS:
            made = instead[id(module)] = NEURONS[name](path, module)
            pairs.append(pair_of(path, module, made, name))
            inside.update(map(id, module.modules()))
        else:
            instead[id(module)] = _layer(path, module, name)
            inside.update(map(id, module.modules()))
    for module in reversed(nested):  # the innermost first
        children = OrderedDict(
            (n, copy_sharing_tensors(c, instead)) for n, c in module.named_children()
        )
        instead[id(module)] = nn.Sequential(children).train(module.training)
    if not pairs:
        raise BindError(
            f"{type(model).__name__} has no neuron of SpikingJelly. Give a model that is built "
            f"with spikingjelly.activation_based.neuron ({', '.join(NEURONS)})."
        )
    return instead, pairs


def _keeps_its_forward(module: nn.Module) -> bool:
    """Is it a network or a block, of the package or of the user, without state of its own?"""
    cls = type(module)
    own = not cls.__module__.startswith(f"{PACKAGE}.")
    network = cls.__module__.startswith((f"{PACKAGE}.activation_based.model",))
    parts = next(module.children(), None) is not None
    example = cls.__module__.startswith(f"{PACKAGE}.activation_based.examples")
    stateless = not module.__dict__.get("_memories") and not isinstance(module, nn.Sequential)
    return (network or example or own) and parts and stateless


def _layer(path: str, module: nn.Module, name: str) -> nn.Module:
    """Return torch's layer that a layer of the package is, with its tensors."""
    training = {"training": module.training, "step_mode": "s"}
    if name in _DROPOUTS:
        return recast(_DROPOUTS[name](module.p).train(module.training), _DROPOUTS[name])
    if name == "VotingLayer":
        return Voting(int(getattr(module, "voting_size"))).train(module.training)  # noqa: B009
    cls: Any = getattr(nn, _RENAMED.get(name, name), None)
    same = isinstance(cls, type) and (isinstance(module, cls) or name in _RENAMED)
    if same and type(module).__module__.startswith(f"{PACKAGE}.activation_based.layer"):
        made = recast(module, cls, **training)
        for extra in ("_step_mode", "alpha", "v_th"):
            made.__dict__.pop(extra, None)
        return made
    raise BindError(
        f"`{path}` is a {type(module).__name__} of SpikingJelly ({name}), which has no counterpart "
        f"in ratebp. Imported are the neurons {', '.join(NEURONS)}, the layers of torch in "
        "spikingjelly.activation_based.layer, Dropout, VotingLayer, ThresholdDependentBatchNorm "
        f"and the containers {', '.join(_SEQUENTIALS)}. Replace it, or import the parts around it."
    )


def _one_step(made: nn.Module, multi: bool, timesteps: int) -> Steps | None:
    """Let blocks of the copy run single-step; return its forward anew where it holds time."""
    for module in made.modules():
        if module.__dict__.get("_step_mode", "s") != "s":
            module.__dict__["_step_mode"] = "s"
    try:
        graph = UnrollingTracer().trace(made)
    except Exception:
        graph = None  # it may loop over its input
    found = None if graph is None else without_time(graph, multi=multi)
    if found is not None or multi:
        return found
    try:
        return follow(made, frozenset(), timesteps)
    except BindError:
        if graph is not None:
            raise
        return None  # it runs as it is written, and the proof judges


def _runner(multi: bool, steps: Steps | None) -> Callable[[nn.Module, Tensor], Any]:
    """Return what runs a copy of the source from rest and sums its outputs over time."""
    held = None if steps is None else steps.step.timesteps

    def run(net: nn.Module, x: Tensor) -> Any:
        for module in net.modules():
            if module.__dict__.get("_memories"):
                module.reset()  # type: ignore[operator]
        if held is None and not multi:
            return torch.stack([net(now) for now in x.unbind(0)]).sum(0)
        timed = steps is None or steps.timed or held is None
        out = net(x if timed else x[0])
        if isinstance(out, list | tuple):
            out = torch.stack([*out])
        return out.sum(0) if steps is None or steps.stacked else out * len(x)

    return run


def _is_multi_step(model: nn.Module) -> bool:
    modes = {
        path: module.__dict__["_step_mode"]
        for path, module in _outside_of_containers(model)
        if "_step_mode" in module.__dict__ and _of_package(module)
    }
    if len(set(modes.values())) < 2:
        return "m" in modes.values()
    other = {str(mode): path for path, mode in modes.items()}
    raise BindError(
        f"`{other['s']}` is in single-step mode and `{other['m']}` in multi-step mode, so the "
        "forward runs neither. Call functional.set_step_mode(model, 'm') before the import."
    )


def _outside_of_containers(model: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield all modules but those inside containers, which run in single-step mode there."""
    yield path, model
    if _of_package(model) in _SEQUENTIALS[:2]:
        return
    for name, child in model.named_children():
        yield from _outside_of_containers(child, f"{path}.{name}" if path else name)


def _notes(model: nn.Module, multi: bool, steps: Steps | None) -> Iterator[str]:
    if steps is not None:
        yield f"its forward {steps.step.style}; rewritten for one time step"
    if any(isinstance(module, nn.Dropout) for module in model.modules()):
        yield "nn.Dropout draws a mask for each step there, and one for the sequence in ratebp"
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        scope, method = ("T*B", "bptt_m") if multi else ("each step's batch", "bptt_s")
        yield f"batch norm there is over {scope}: {method} trains the same"
