"""Checks of methods on a network, asked of a child process.

The parent never imports the library. A method that kills the child (a fault in compiled code) is
an answer like any other, and a new child goes on with the next one.
"""

from __future__ import annotations

import json
import tempfile
import tomllib
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.errors import CheckError
from harness.machine import start
from harness.machine.child import Child, cause, last_words

COMMAND: Final = start.command("ratebp.checker")
WRONG: Final = "wrong"
REFUSED: Final = "refused"
NO_COSTS: Final = (WRONG, REFUSED)
"""Outcomes of methods whose costs nobody asks for."""

ALL_REFUSE: Final = 3
"""The exit code of a check of a network that no method trains."""
_GRACE_S: Final = 5.0


@dataclass(frozen=True)
class CheckRequest:
    """One method on one network.

    Attributes:
        model: a name, a place such as ``file.py:name``, or ``zoo:name``.
        method: its name; empty where the question is what exact training keeps.
        T: time steps.
        batch: samples.
        input: sizes of one sample at one time step.
        classes: offered to the model where it takes them.
        options: of the model.
    """

    model: str
    method: str
    T: int = 4
    batch: int = 2
    input: tuple[int, ...] = (3, 32, 32)
    classes: int = 10
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KeepingAnswer:
    """What exact training keeps for the backward.

    Attributes:
        leaves: each with path, kind, nbytes, per_value, needless and why, as `ratebp.keeping` says.
        per_neuron: bytes a neuron and time step.
        reason: why nobody can say, or nothing.
    """

    leaves: tuple[Mapping[str, Any], ...] = ()
    per_neuron: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class CheckAnswer:
    """What was found; the words are those of `ratebp.Check`.

    Attributes:
        request: the question.
        outcome: "exact", "equal at T=1", "approximate", "refused" or "wrong".
        error: largest relative error of what had to be equal, or None.
        cosine: least cosine with BPTT of any parameter's gradient, or None.
        leaf: where it first goes wrong, or None.
        reason: one sentence, or nothing.
    """

    request: CheckRequest
    outcome: str
    error: float | None = None
    cosine: float | None = None
    leaf: str | None = None
    reason: str = ""


def shape(text: str) -> tuple[int, ...]:
    """Return the sizes in a text such as ``3x32x32``.

    Raises:
        CheckError: for anything but positive whole numbers with an x between them.
    """
    parts = text.split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise CheckError(f"--input {text!r} is no size of one sample. Write 3x32x32, or 700.")
    return tuple(map(int, parts))


def exit_code(answers: Sequence[CheckAnswer]) -> int:
    """Return 1 if anything is wrong, 3 if every method refuses, else 0."""
    outcomes = {answer.outcome for answer in answers}
    if WRONG in outcomes:
        return 1
    return ALL_REFUSE if outcomes == {REFUSED} else 0


def options(texts: Sequence[str]) -> dict[str, Any]:
    """Return the options of a model given as ``name=value``, dotted names nested.

    A value is as in a sweep file; what TOML cannot read is text.

    Raises:
        CheckError: for a text without a name or a value.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        *parents, leaf = name.strip().split(".")
        if not equals or not leaf:
            raise CheckError(f"--option {text!r} is no option. Write --option width=64.")
        table = found
        for parent in parents:
            table = table.setdefault(parent, {})
        table[leaf] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def keeping(request: CheckRequest, command: Sequence[str] | None = None) -> KeepingAnswer:
    """Return what exact training keeps on a network; `request.method` is left out of account.

    Raises:
        CheckError: for a network that cannot be loaded or run.
    """
    with tempfile.TemporaryDirectory(prefix="ratebp-check-") as folder:
        log = Path(folder) / "stderr"
        with Child(command or COMMAND, log) as child:
            line = child.ask(json.dumps({**asdict(request), "method": ""}))
            child.answer(b"")
            code = child.end(_GRACE_S)
        if not line:
            return KeepingAnswer(reason=f"the process ended: {cause(code, log)}")
    said = json.loads(line)
    if said["outcome"] == "invalid":
        raise CheckError(said["reason"])
    return KeepingAnswer(tuple(said.get("leaves", ())), said.get("per_neuron", 0.0), said["reason"])


def ask(
    requests: Sequence[CheckRequest], command: Sequence[str] | None = None
) -> Generator[CheckAnswer, None, None]:
    """Return the answers, one by one, in the order of the requests; close it to end the child.

    Args:
        requests: the questions.
        command: the child's; the library's own if None.

    Raises:
        CheckError: for a network that cannot be loaded or run, or a child that answers nothing.
    """
    left = list(requests)
    with tempfile.TemporaryDirectory(prefix="ratebp-check-") as folder:
        log = Path(folder) / "stderr"
        while left:
            try:
                child = Child(command or COMMAND, log)
            except OSError as error:
                raise CheckError(f"cannot start the check: {error}") from error
            with child:
                while left and (line := child.ask(json.dumps(asdict(left[0])))):
                    yield _answer(left.pop(0), json.loads(line))
                child.answer(b"")
                code = child.end(_GRACE_S)
            if left:
                yield _broken(left.pop(0), code, last_words(log))


def _broken(request: CheckRequest, code: int, said: str) -> CheckAnswer:
    """The answer of a process that has ended instead; anything but a signal is a fault of ours."""
    if code >= 0:
        raise CheckError(
            f"the check of {request.model} ended with code {code} before its answer:\n{said}"
        )
    return CheckAnswer(request, WRONG, reason=f"It ends the process, by signal {-code}. {said}")


def _answer(request: CheckRequest, plain: dict[str, Any]) -> CheckAnswer:
    if plain["outcome"] == "invalid":
        raise CheckError(plain["reason"])
    return CheckAnswer(request, **plain)
