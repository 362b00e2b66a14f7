"""Checks of methods on a network, asked of a child process.

The parent never imports the library. A method that kills the child (a fault in compiled code) is
an answer like any other, and a new child goes on with the next one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from harness.errors import CheckError
from harness.machine import start
from harness.machine.child import Child, last_words

COMMAND: Final = start.command("ratebp.checker")
WRONG: Final = "wrong"
_GRACE_S: Final = 5.0


@dataclass(frozen=True)
class CheckRequest:
    """One method on one network.

    Attributes:
        model: a built-in one, ``file.py:name``, or ``zoo:name``.
        method: its name.
        T: time steps.
        batch: samples.
        input: sizes of one sample at one time step.
        classes: offered to the model where it takes them.
    """

    model: str
    method: str
    T: int = 4
    batch: int = 2
    input: tuple[int, ...] = (3, 32, 32)
    classes: int = 10


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
    """Return 1 if anything is wrong, else 0."""
    return int(any(answer.outcome == WRONG for answer in answers))


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
