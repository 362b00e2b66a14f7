"""Forwards that loop over time steps, and neurons that return their potentials.

`torch.fx` follows such a forward through all its steps. Where every step is the same operations on
the same modules, one of them is the model of ours: the first, in which the input of a step is the
image, or that step's part of a time-major input.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

from ratebp.errors import BindError
from ratebp.importers.following import (
    Follower,
    is_part,
    is_shape,
    needed,
    reads_input,
    stands_for_one,
)
from ratebp.importers.unrolled import OneStep, Steps, argument, is_called, prune

_ZEROS = ("zeros", "zeros_like", "new_zeros")


def follow(tree: nn.Module, tuples: frozenset[str], timesteps: int) -> Steps | None:
    """Return one time step of the forward of `tree`; None where nothing must be rewritten.

    Args:
        tree: with `Handed` for neurons, or ours.
        tuples: paths of neurons that give spikes and potential.
        timesteps: T of a time-major input, for a forward that asks its input for it.

    Raises:
        BindError: for a forward that cannot be followed, or whose steps differ.
    """
    name, reasons = type(tree).__name__, []
    for known in (None, timesteps):
        try:
            graph = Follower(known).trace(tree)
            break
        except Exception as error:
            reasons.append(f"{type(error).__name__}: {str(error).splitlines()[0]}")
    else:
        raise BindError(
            f"the forward of {name} cannot be followed ({reasons[0]}; with T={timesteps} for its "
            f"input, {reasons[1]}). Let its loop run over a number of steps that is no tensor's "
            "value, take out what depends on values, or give the forward of one time step."
        )
    return _Rewriting(tree, graph, tuples).done()


class _Rewriting:
    """Turns the graph of a whole forward into that of one time step."""

    def __init__(self, tree: nn.Module, graph: fx.Graph, tuples: frozenset[str]) -> None:
        self.tree, self.graph, self.tuples = tree, graph, tuples
        self.name = type(tree).__name__
        modules = dict(tree.named_modules())
        self.calls: dict[str, list[fx.Node]] = {}
        for node in graph.nodes:
            if node.op == "call_module" and stands_for_one(modules[str(node.target)]):
                self.calls.setdefault(str(node.target), []).append(node)
        self.order = {n: (p, t) for p, all_ in self.calls.items() for t, n in enumerate(all_)}

    def done(self) -> Steps | None:
        self._refuse_potentials_from_elsewhere()
        counts = {len(calls) for calls in self.calls.values()}
        if len(counts) > 1:
            listed = ", ".join(f"`{p}` {len(calls)} times" for p, calls in self.calls.items())
            raise BindError(
                f"the forward of {self.name} calls its neurons unequally often ({listed}), so it "
                "is no loop over time steps. Call each neuron once a step."
            )
        timesteps = counts.pop() if counts else 1
        output = next(node for node in self.graph.nodes if node.op == "output")
        pick, result, dropped = self._picked(output.args[0], timesteps)
        found = Steps(OneStep(self.graph, None, "hands potentials on"), pick=pick, dropped=dropped)
        if timesteps > 1:
            terms, found.stacked, factor = self._terms(result, timesteps)
            found.timed = self._alike(terms)
            found.step = OneStep(self.graph, timesteps, f"loops over {timesteps} time steps")
            result = self._scaled(terms[0], factor, output)
        elif not self.tuples:
            return None
        output.args = (result,)
        self._without_potentials()
        self._timed(found.timed)
        prune(self.graph, calls=True)
        return found

    def _spikes(self, node: Any) -> bool:
        return isinstance(node, fx.Node) and node in self.order

    def _potential(self, node: Any) -> str | None:
        """Return the path of the neuron whose potential `node` is, None for anything else."""
        if not isinstance(node, fx.Node) or node.target is not operator.getitem:
            return None
        source, place = node.args
        known = self._spikes(source) and self.order[source][0] in self.tuples  # type: ignore[index]
        return self.order[source][0] if known and place == 1 else None  # type: ignore[index]

    def _refuse_potentials_from_elsewhere(self) -> None:
        """Check the potentials that neurons get: at the first step at rest, then their own."""
        for path, calls in self.calls.items():
            for t, node in enumerate(calls):
                given = [*node.args[1:], *node.kwargs.values()]
                own = len(given) <= 1 and all(
                    self._rests(each) if t == 0 else self._is_last(each, calls[t - 1])
                    for each in given
                )
                if not own:
                    raise BindError(
                        f"`{path}` is handed a potential that is not its own of the time step "
                        "before, or not zero at the first. ratebp's neurons keep theirs: leave "
                        "it out, or start from rest."
                    )

    def _rests(self, given: Any) -> bool:
        if given is None:
            return True
        if not isinstance(given, fx.Node):
            return False
        if given.op == "get_attr":
            held: Any = self.tree
            for part in str(given.target).split("."):
                held = getattr(held, part)
            return isinstance(held, Tensor) and not bool(held.any())
        # A potential that the caller hands in is the neuron's own, from step to step.
        return given.op == "placeholder" or is_called(given, *_ZEROS)

    def _is_last(self, given: Any, last: fx.Node) -> bool:
        if given is None:
            return True
        own = isinstance(given, fx.Node) and given.target is operator.getitem
        return own and tuple(given.args) == (last, 1)

    def _picked(self, result: Any, timesteps: int) -> tuple[int | None, Any, list[str]]:
        """Return the index of the model's output, its node, and the other outputs."""
        if self._spikes(result) and self.order[result][0] in self.tuples:
            with self.graph.inserting_after(result):
                return 0, self.graph.call_function(operator.getitem, (result, 0)), ["potential"]
        if not isinstance(result, list | tuple):
            return None, result, []
        kept = [k for k, each in enumerate(result) if not self._is_potentials(each)]
        if 1 < len(kept) == len(result) == timesteps:
            return None, result, []  # the outputs of all steps
        if len(kept) == 1:
            other = [f"output {k}" for k in range(len(result)) if k != kept[0]]
            return kept[0], result[kept[0]], [f"{each} (potentials)" for each in other]
        raise BindError(
            f"the forward of {self.name} returns {len(result)} values of which {len(kept)} are no "
            "potentials, but a method trains one. Return the logits or spikes of the last layer."
        )

    def _is_potentials(self, node: Any) -> bool:
        if self._potential(node) is not None:
            return True
        if isinstance(node, list | tuple):
            return bool(node) and all(map(self._is_potentials, node))
        if isinstance(node, fx.Node) and is_called(node, "stack", "cat"):
            return self._is_potentials(node.args[0])
        return False

    def _terms(self, result: Any, timesteps: int) -> tuple[list[fx.Node], bool, float]:
        """Return the output of each step, whether the steps are stacked, and the factor of each."""
        if isinstance(result, fx.Node) and is_called(result, "mean", "sum"):
            inner = result.args[0]
            if is_called(inner, "stack") and argument(result, 1, "dim") in (0, (0,), [0]):
                factor = 1.0 if is_called(result, "mean") else float(timesteps)
                return [*inner.args[0]], False, factor  # type: ignore[union-attr, misc]
        listed: Any = None
        if isinstance(result, list | tuple):
            listed = result
        elif is_called(result, "stack") and argument(result, 1, "dim", 0) == 0:
            listed = result.args[0]
        if listed is not None and len(listed) == timesteps:
            return [*listed], True, 1.0
        factor = float(timesteps)
        if is_called(result, "truediv", "div") and isinstance(result.args[1], int | float):
            factor, result = factor / result.args[1], result.args[0]
        added = [*_added(result)]
        if len(added) == timesteps:
            return added, False, factor
        raise BindError(
            f"the forward of {self.name} loops over {timesteps} time steps, but its output is not "
            "the outputs of all steps: a stack along a first axis, their sum or their mean. "
            "Return that, or the forward of one time step."
        )

    def _alike(self, terms: list[fx.Node]) -> bool:
        """Check that all steps are the same; return whether they read their part of the input."""
        timed: set[bool] = set()
        for t, term in enumerate(terms):
            if not self._same(term, terms[0], t, timed, {}):
                raise BindError(
                    f"the forward of {self.name} does something else at time step {t} than at the "
                    "first, so no forward for one step is that of all. Let every step do the same."
                )
        if len(timed) > 1:
            raise BindError(
                f"the forward of {self.name} reads both its whole input and its parts by time "
                "step. Let it read x[t] alone, or x alone."
            )
        return True in timed

    def _same(self, node: Any, first: Any, t: int, timed: set[bool], seen: dict[Any, Any]) -> bool:
        if isinstance(node, list | tuple):
            alike = isinstance(first, list | tuple) and len(node) == len(first)
            pairs = zip(node, first, strict=False)
            return alike and all(self._same(a, b, t, timed, seen) for a, b in pairs)
        if not isinstance(node, fx.Node) or not isinstance(first, fx.Node):
            return not isinstance(first, fx.Node) and bool(node == first)
        if node in seen:
            return seen[node] is first
        seen[node] = first
        if is_part(node):
            timed.add(True)
            place = node.args[1] == t and first.args[1:] == (0,)
            return bool(is_part(first) and place)
        if node.op == "placeholder":
            timed.add(False)
            return node is first
        if node.op != first.op or node.target != first.target:
            return False
        if node in self.order and first in self.order:
            in_step = self.order[node][1] == t and self.order[first][1] == 0
            return in_step and self._same(node.args[0], first.args[0], t, timed, seen)
        if is_called(node, "size") or is_shape(node):
            return bool(node.args[1:] == first.args[1:])
        own, other = ([*each.args, *each.kwargs.values()] for each in (node, first))
        alike = [*node.kwargs] == [*first.kwargs]
        return alike and self._same(own, other, t, timed, seen)

    def _scaled(self, term: fx.Node, factor: float, output: fx.Node) -> fx.Node:
        if factor == 1:
            return term
        with self.graph.inserting_before(output):
            return self.graph.call_function(torch.mul, (term, factor))

    def _without_potentials(self) -> None:
        """Rewrite the calls of neurons: they take the current alone and return spikes alone."""
        for node in self.order:
            path = self.order[node][0]
            node.args, node.kwargs = node.args[:1], {}
            if path not in self.tuples:
                continue
            for user in [*node.users]:
                if user.target is operator.getitem and user.args[1] == 0:
                    user.replace_all_uses_with(node)

    def _timed(self, timed: bool) -> None:
        """Replace ``x[t]`` by the input of one step."""
        for node in [*needed(self.graph)]:
            if self._potential(node) is not None:
                raise BindError(
                    f"the forward of {self.name} reads the potential of `{self._potential(node)}`, "
                    "but a neuron of ratebp gives spikes alone. Use the spikes, or a layer that "
                    "keeps what it needs."
                )
            if timed and node.op != "placeholder" and reads_input(node):
                if is_part(node):
                    node.replace_all_uses_with(node.args[0])  # type: ignore[arg-type]
                elif is_called(node, "size") and isinstance(node.args[1], int):
                    node.args = (node.args[0], node.args[1] - (node.args[1] > 0))
                else:
                    raise BindError(
                        f"the forward of {self.name} reads its whole input by {node.target}, "
                        "beside its parts x[t]. Let it read x[t] alone."
                    )


def _added(node: Any) -> Iterator[fx.Node]:
    """Yield the terms of a sum, in their order, without the 0 that it may start with."""
    if is_called(node, "add", "iadd", "radd") and len(node.args) == 2:
        yield from _added(node.args[0])
        yield from _added(node.args[1])
    elif isinstance(node, fx.Node) and not (is_called(node, *_ZEROS) or node.op == "get_attr"):
        yield node
