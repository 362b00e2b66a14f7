"""Reading a model's forward when it is bound, and again when the shapes of its inputs are known."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from ratebp.checks import single
from ratebp.errors import BindError, StaleViewError
from ratebp.folding import refuse_changes, refuse_numbers, refuse_samples
from ratebp.forwards import refuse_forward
from ratebp.graph import Graph, Moves, Recording, UnreadableError, Variables, read
from ratebp.inputs import Inputs, arguments, by_name, tensors_of
from ratebp.needs import (
    Need,
    refuse_operations,
)
from ratebp.wiring import Wiring, wiring_of

_PRIMES = (13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97)
"""Batches to read with: one that no other size is a multiple of cannot be taken for another."""


class Reader:
    """Reads one model for one method.

    Args:
        model: what is bound.
        method: what to call the method, for messages.
        needs: of that method.
        given: a wiring that the user wrote, which is then compared with what runs.

    Attributes:
        graph: the forward as it was read last, without shapes before the first inputs; None where
            it cannot be read without inputs.
        reason: why it could not be traced.
        wiring: what rules may rely on; None where it is not known before the first inputs.

    Raises:
        BindError: for a forward that the method cannot train, as far as it shows without inputs.
    """

    def __init__(
        self, model: nn.Module, method: str, needs: Collection[Need], given: Wiring | None = None
    ) -> None:
        """Read the model without running it."""
        self._model, self._method, self._needs = model, method, frozenset(needs)
        self._modules = [*model.modules()]
        self._given = given is not None
        self._seen: dict[tuple[object, ...], Mapping[str, Moves]] = {}
        self.graph: Graph | None = None
        self._code: Graph | None = None
        self._variables: Variables | None = None
        self.reason = ""
        self.wiring = given
        try:
            self.graph = self._code = read(model)
        except UnreadableError as error:
            self.reason = str(error)
            if error.values and given is None:
                raise self._not_followed() from error
            return  # it is read with inputs, when they come
        self._refuse(self.graph)
        if given is None:
            self.wiring = wiring_of(self.graph)

    @property
    def code(self) -> Graph | None:
        """The forward as `torch.fx` traced it, which can be run in pieces; None where it cannot.

        The code contains the values of the variables around the forward, which must not change from
        now on.
        """
        if self._variables is None:
            self._variables = Variables(self._model)
        return self._code

    def sees(self, x: Tensor | Inputs) -> bool:
        """Read the model for the shapes of ``x [T, B, ...]``, if these are new.

        Returns:
            Whether `wiring` has changed.

        Raises:
            BindError: for a forward that the method cannot train, or a wiring that was given and
                is not that of what runs.
            StaleViewError: when a variable changed whose value runs in pieces of code.
        """
        if Need.SINGLE in self._needs and isinstance(x, Inputs):
            raise BindError(single(self._method, f"is given a {x.kind}"))
        others = () if self._variables is None else self._variables.changed()
        if others:
            raise StaleViewError(
                f"`{others[0]}`, a variable that the forward uses, changed after bind, but "
                f"{self._method} runs the forward in pieces, with its value as it was. Call bind "
                "again, or train with bptt_s."
            )
        flags = tuple(module.training for module in self._modules)
        signature = tuple(
            (name, t.shape[1:], t.dtype) for name, t in by_name(self._model, x).items()
        )
        key = (signature, flags)
        if key in self._seen:
            return self._move(self._seen[key])
        otherwise = self._without_code(x)
        found = self._recorded(x)
        if found is None:
            self._seen[key] = {}
            return otherwise
        graph, batch = found
        self._refuse(graph)
        refuse_samples(self._method, self._needs, graph, batch)
        wiring = wiring_of(graph, batch)
        changed = self._follow(wiring) or otherwise
        self.graph = graph
        self._seen[key] = {} if self._given else wiring.moves
        return self._move(self._seen[key]) or changed

    def _without_code(self, x: Tensor | Inputs) -> bool:
        """Drop code that took the default of an input which is given; say whether there was any."""
        if self._code is None:
            return False
        taken = inspect.signature(self._model.forward).parameters
        first = next(iter(taken), "")
        given = [name for name in by_name(self._model, x) if name in taken and name != first]
        other = [name for name in given if taken[name].default is not inspect.Parameter.empty]
        if not other:
            return False
        self._code, self.reason = None, f"its input `{other[0]}` has a default, which it would take"
        return True

    def _move(self, moves: Mapping[str, Moves]) -> bool:
        """Replace the wiring's moves by those for these inputs, whose sizes they hold."""
        if self.wiring is None or self.wiring.moves == moves:
            return False
        self.wiring = replace(self.wiring, moves=moves)
        return True

    def _refuse(self, graph: Graph) -> None:
        refuse_forward(self._model, graph)
        refuse_operations(self._method, self._needs, graph)

    def _recorded(self, x: Tensor | Inputs) -> tuple[Graph, int] | None:
        inputs = (each[0, :1] for each in tensors_of(x))
        sizes = {n for t in (*inputs, *self._model.parameters()) for n in t.shape}
        primes = [p for p in _PRIMES if all(n % p for n in sizes if n)] or [_PRIMES[-1]]
        recording = Recording(self._model)
        for batch in (primes[0], x.shape[1]):
            try:
                graph = recording.of(*_samples(x, batch))
                if self._needs:
                    self._compare(recording, graph, batch, x)
                return graph, batch
            except UnreadableError as error:
                self.reason = str(error)
        if self.wiring is not None and self._needs <= {Need.SYNAPSES}:
            return None  # it runs the model as written, and what it must know is known
        raise self._not_followed()

    def _compare(self, recording: Recording, graph: Graph, batch: int, x: Tensor | Inputs) -> None:
        """Refuse a forward that is not the same when it runs again, or for more samples."""
        refuse_changes(self._method, graph, recording.of(*_samples(x, batch)))
        if Need.SAMPLES not in self._needs:
            return
        for more in (_PRIMES[-1], x.shape[1], x.shape[0] * x.shape[1]):
            other = recording.of(*_samples(x, more))
            refuse_numbers(self._method, graph, other)
            if more == _PRIMES[-1]:  # too many samples for another size
                refuse_samples(self._method, self._needs, other, more)

    def _not_followed(self) -> BindError:
        return BindError(
            f"the forward of {type(self._model).__name__} cannot be followed ({self.reason}): it "
            "fails on one time step [B, ...] of these inputs, or depends on the values of tensors. "
            "Write it for one time step (no loop over T, no reset of neurons) and take out control "
            "flow that depends on tensor values; or, if it runs step by step as it is, train with "
            "bptt_s and pass bind(..., wiring=ratebp.Wiring(...)), which says which neuron follows "
            "each synapse."
        )

    def _follow(self, found: Wiring) -> bool:
        if self.wiring is None:
            self.wiring = found
            return True
        wrong = _contradiction(self.wiring, found)
        if wrong is None:
            return False
        if self._given:
            raise BindError(
                f"the wiring that was given says otherwise than what runs: {wrong}. Correct it, or "
                "leave it out: the forward can be read."
            )
        if self._seen:
            raise BindError(
                f"for these inputs signals take another way than for those before: {wrong}. Bind "
                "once more for them."
            )
        self.wiring = found
        return True


def _samples(x: Tensor | Inputs, batch: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return one time step of `batch` samples like those of `x`, without values."""

    def like(given: Tensor) -> Tensor:
        return torch.empty((batch, *given.shape[2:]), dtype=given.dtype, device="meta")

    return arguments(x.each(like) if isinstance(x, Inputs) else like(x))


def _contradiction(held: Wiring, found: Wiring) -> str | None:
    """Return the first claim of `held` that does not hold in `found`, None if all do."""
    for question in ("calls", "behind", "before", "sources", "readers", "counts"):
        claims, facts = getattr(held, question), getattr(found, question)
        for path, claim in claims.items():
            if facts.get(path) != claim:
                return f"`{path}` has {question} {_words(claim)}, not {_words(facts.get(path))}"
    for path in found.calls.keys() - held.calls.keys():
        return f"`{path}` is called, which is not said"
    for question in ("only_norms", "constant_input", "means"):
        for path in getattr(held, question) - getattr(found, question):
            return f"`{path}` is not among {question}"
    for path in found.measured - held.measured:
        return f"`{path}` has its shape or type read, which is not said"
    return None


def _words(claim: object) -> str:
    listed = sorted(claim) if isinstance(claim, frozenset) else claim
    return "nothing known" if listed is None else repr(listed)
