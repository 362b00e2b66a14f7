"""Views: copies of a module tree that share every tensor and have their leaves swapped.

A method never touches the user's model. It binds views: `view(model, rules)` copies the structure,
shares each parameter and buffer object, and replaces every leaf whose role has a rule by what the
rule returns. Views are disposable; checkpoints are saved from the model.

Sharp edges, each with its guard: whatever changes in the model after binding but the values of its
tensors (a tensor replaced by ``model.to()``, a module, an attribute, a hook) raises
`StaleViewError` at the next step; `train()` and `eval()` on the model, or on a part of it, reach
the views through `View.refresh`; a model that carries hooks is refused, since a copied hook would
act on stale closures; a leaf that keeps state must be called once a time step. A swapped leaf
answers as the layer it stands for (`ratebp.standing`), so that a model may ask its layers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from torch import Tensor, nn

from ratebp.checks import Snapshot, of_samples, refuse_no_tensor, refuse_unfit
from ratebp.errors import BindError
from ratebp.inputs import Inputs, call, tensors_of
from ratebp.leaves import Folded as Folded
from ratebp.leaves import Leaf as Leaf
from ratebp.leaves import Record as Record
from ratebp.roles import Role, role_of
from ratebp.standing import standing
from ratebp.structures import Output, mapped
from ratebp.wiring import Wiring

Rule = Callable[[Any, str], nn.Module]
"""``rule(leaf, path) -> variant``: `leaf` is the view's own copy, `path` its dotted name."""

Container = Callable[[nn.Module], nn.Module]
"""``container(part) -> module``: `part` is a part of the view, its leaves swapped already."""

Wrap = Callable[[nn.Module, bool], nn.Module]
"""``wrap(module, builds_graph) -> module``: where compile or DDP are put around a view."""


class View:
    """One runnable view; call it like the model.

    Attributes:
        module: the copied tree with swapped leaves, wrapped if binding asked for it.
    """

    def __init__(
        self,
        model: nn.Module,
        pairs: list[tuple[nn.Module, nn.Module]],
        module: nn.Module,
        *,
        one_step: bool = False,
    ) -> None:
        """Keep the finished `module`.

        Args:
            model: what the view is of.
            pairs: of a module of the model and its copy.
            module: the copied tree.
            one_step: whether it can run one time step ``[B, ...]`` in place of T equal ones.
        """
        self.module = module
        self._one_step = one_step
        self._leaves = [m for m in module.modules() if isinstance(m, Leaf)]
        self._pairs = pairs
        self._name = type(model).__name__
        self._snapshot = Snapshot(model)

    def __call__(self, x: Tensor | Inputs) -> Output:
        """Run the view on `x`: folded ``[T*B, ...]`` or one step ``[B, ...]``, as leaves want."""
        out: Output = call(self.module, x)
        refuse_no_tensor(out, self._name)
        return out

    def over_time(self, x: Tensor | Inputs) -> Output:
        """Run all time steps of ``x [T, B, ...]`` at once, folded; return ``[T, B, ...]``.

        For a constant input (direct coding: a stride of 0 over time) the leaves before the first
        neurons run one time step in place of T equal ones.
        """
        folded = [leaf for leaf in self._leaves if isinstance(leaf, Folded)]
        for leaf in folded:
            leaf.batch = x.shape[1]
        try:
            # Each step of an input that asks for its gradient has one of its own.
            stays = all(each.stride(0) == 0 for each in tensors_of(x))
            constant = self._one_step and stays and not x.requires_grad
            out = of_samples(self(x[0] if constant else x.flatten(0, 1)), len(x) * x.shape[1])
            return mapped(lambda each: each.unflatten(0, (len(x), -1)), out)
        finally:
            for leaf in folded:
                leaf.batch = None

    def reset(self) -> None:
        """Forget all state of the leaves."""
        for leaf in self._leaves:
            leaf.reset()

    def detach(self) -> None:
        """Cut the graph to earlier time steps in all leaves."""
        for leaf in self._leaves:
            leaf.detach()

    @contextmanager
    def sequence(self) -> Iterator[None]:
        """Surround one sequence: start from rest, and leave nothing allocated behind."""
        self.reset()
        try:
            yield
        finally:
            self.reset()

    def forget(self) -> None:
        """Drop what an interrupted sequence has left: states, and records that were not taken."""
        self.reset()
        for leaf in self._leaves:
            for held in leaf.__dict__.values():
                for each in held if isinstance(held, list | tuple) else (held,):
                    if isinstance(each, Record):
                        each.drop()

    def refresh(self) -> None:
        """Copy the model's training flags and refuse a model that has changed since the bind.

        Raises:
            StaleViewError: when anything but the values of the model's tensors changed.
        """
        self._snapshot.refuse_changes()
        self.follow()

    def follow(self) -> None:
        """Follow the model's training flags."""
        for origin, copied in self._pairs:
            if copied.training != origin.training:  # a module's assignments are slow
                copied.training = origin.training

    def no_sync(self) -> AbstractContextManager[None]:
        """Return DDP's `no_sync` when the view is wrapped in it, else nothing."""
        no_sync = getattr(self.module, "no_sync", None)
        return no_sync() if callable(no_sync) else nullcontext()


def place_of(layer: nn.Module) -> str:
    """Return path and class of `layer`, a view's copy of a layer, as messages show them."""
    return f"`{layer.__dict__.get('_place', '')}` ({type(layer).__name__})"


def _copy(model: nn.Module) -> tuple[nn.Module, list[tuple[nn.Module, nn.Module]]]:
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in module.__dict__.values():  # the tables of parameters and buffers among them
            memo.update((id(tensor), tensor) for tensor in _tensors(value))
    try:
        tree = copy.deepcopy(model, memo)
    except Exception as error:
        raise BindError(
            f"{type(model).__name__} cannot be copied, which a view does with all but the tensors "
            f"({error}). Keep what is no module, tensor or plain value out of the model."
        ) from error
    return tree, list(zip(model.modules(), tree.modules(), strict=True))


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple | set):
        for each in value:
            yield from _tensors(each)


def view(
    model: nn.Module,
    rules: Mapping[Role, Rule],
    *,
    containers: Mapping[str, Container] | None = None,
    wiring: Wiring | None = None,
    wrap: Wrap | None = None,
    builds_graph: bool = True,
) -> View:
    """Return a view of `model` with the leaves of the given roles swapped.

    Args:
        model: the user's model; it is read, never changed.
        rules: role -> rule. Leaves of other roles stay as they are.
        containers: dotted name of a part of the model -> what makes the module that stands for it;
            "" is the whole. Inner parts come first. For methods that run a part in another way
            (checkpointing, reversible blocks).
        wiring: lets the view refuse a stateful leaf that one forward calls twice.
        wrap: put around the finished tree (torch.compile, DistributedDataParallel).
        builds_graph: whether gradients will flow through this view; handed to `wrap`.

    Raises:
        BindError: for a model that no view can stand for (`ratebp.checks.refuse_unfit`), or a
            stateful leaf called more than once a step.
        KeyError: for a container at a place that the model does not have.
    """
    refuse_unfit(model)
    tree, pairs = _copy(model)
    modules = dict(tree.named_modules())
    called = None if wiring is None else {id(modules.get(path)) for path in wiring.calls}
    for path, leaf in tree.named_modules():
        leaf.__dict__["_place"] = path
    origins = {id(copied): origin for origin, copied in pairs}
    variants: dict[int, nn.Module] = {}
    swapped: list[str] = []
    for path, leaf in list(tree.named_modules(remove_duplicate=False)):
        role = role_of(leaf)
        rule = rules.get(role) if role is not None else None
        if rule is None or any(path.startswith(f"{outer}.") for outer in swapped):
            continue
        if role is not Role.NEURON and called is not None and id(leaf) not in called:
            continue  # a module that the forward reads and does not call stays what it is
        if id(leaf) not in variants:
            variant = variants[id(leaf)] = rule(leaf, path)
            _refuse_reuse(variant, role, path, wiring)
            if isinstance(variant, Leaf):
                variant = variants[id(leaf)] = standing(variant, leaf)
                pairs.append((origins[id(leaf)], variant))
        tree = _put(tree, path, variants[id(leaf)])
        swapped.append(path)
    one_step = wiring is not None and _takes_one_step(tree, wiring)
    tree = _contained(tree, containers or {})
    return View(
        model, pairs, wrap(tree, builds_graph) if wrap is not None else tree, one_step=one_step
    )


def _contained(tree: nn.Module, containers: Mapping[str, Container]) -> nn.Module:
    parts = dict(tree.named_modules())
    for path in sorted(containers, key=lambda path: path.count(".") + bool(path), reverse=True):
        tree = _put(tree, path, containers[path](parts[path]))
    return tree


def _takes_one_step(tree: nn.Module, wiring: Wiring) -> bool:
    """Return whether all leaves with a constant input can run one time step in place of T."""
    variants = [m for path in wiring.constant_input for m in tree.get_submodule(path).modules()]
    return bool(variants) and all(m.takes_one_step for m in variants if isinstance(m, Leaf))


def _put(tree: nn.Module, path: str, variant: nn.Module) -> nn.Module:
    if path == "":
        return variant
    parent, _, name = path.rpartition(".")
    setattr(tree.get_submodule(parent), name, variant)
    return tree


_TWICE = {
    Role.NEURON: "Give each place its own module (two LIF() objects, not one used twice)",
    Role.SYNAPSE: "Give each place its own layer (two nn.Linear, or two convolutions), or train "
    "with bptt_m, bptt_s or tbptt, where a weight may be used at several places",
    Role.NORM: "Give each place its own norm (two nn.BatchNorm2d), since running statistics, too, "
    "would mix those of both",
    Role.DROPOUT: "Give each place its own nn.Dropout",
}


def _refuse_reuse(variant: nn.Module, role: Role | None, path: str, wiring: Wiring | None) -> None:
    stateful = isinstance(variant, Leaf) and variant.stateful
    if stateful and role is not None and wiring is not None and wiring.calls.get(path, 0) > 1:
        raise BindError(
            f"`{path}` is called {wiring.calls[path]} times in one forward, but it keeps one "
            f"state. {_TWICE[role]}."
        )
