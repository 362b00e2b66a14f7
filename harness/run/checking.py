"""Checks of methods on a network, asked of a child process.

The parent never imports the library. A method that kills the child (a fault in compiled code) is
an answer like any other, and a new child goes on with the next one.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, Final

from harness.errors import CheckError
from harness.machine import start

COMMAND: Final = start.command("ratebp.checker")
WRONG: Final = "wrong"
_TAIL_LINES: Final = 8


@dataclass(frozen=True)
class Request:
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
class Answer:
    """What was found; the words are those of `ratebp.Check`.

    Attributes:
        request: the question.
        outcome: "exact", "equal at T=1", "approximate", "refused" or "wrong".
        error: largest relative error of what had to be equal, or None.
        cosine: least cosine with BPTT of any parameter's gradient, or None.
        leaf: where it first goes wrong, or None.
        reason: one sentence, or nothing.
    """

    request: Request
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


def exit_code(answers: Sequence[Answer]) -> int:
    """Return 1 if anything is wrong, else 0."""
    return int(any(answer.outcome == WRONG for answer in answers))


def ask(requests: Sequence[Request], command: Sequence[str] | None = None) -> Iterator[Answer]:
    """Return the answers, one by one, in the order of the requests.

    Args:
        requests: the questions.
        command: the child's; the library's own if None.

    Raises:
        CheckError: for a network that cannot be loaded or run, or a child that answers nothing.
    """
    left = list(requests)
    while left:
        with tempfile.TemporaryFile("w+") as errors:
            code = yield from _by_one_child(left, command or COMMAND, errors)
            if not left:
                return
            errors.seek(0)
            tail = "\n".join(errors.read().strip().splitlines()[-_TAIL_LINES:])
        if code >= 0:
            raise CheckError(
                f"the check of {left[0].model} ended with code {code} before its answer:\n{tail}"
            )
        yield Answer(left.pop(0), WRONG, reason=f"It ends the process, by signal {-code}. {tail}")


def _by_one_child(
    left: list[Request], command: Sequence[str], errors: IO[str]
) -> Generator[Answer, None, int]:
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    except OSError as error:
        raise CheckError(f"cannot start the check: {error}") from error
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        while left:
            try:
                child.stdin.write(json.dumps(asdict(left[0])) + "\n")
                child.stdin.flush()
                line = child.stdout.readline()
            except BrokenPipeError:
                break
            if not line:
                break
            yield _answer(left.pop(0), json.loads(line))
        child.stdin.close()
        return child.wait()


def _answer(request: Request, plain: dict[str, Any]) -> Answer:
    if plain["outcome"] == "invalid":
        raise CheckError(plain["reason"])
    return Answer(request, **plain)
