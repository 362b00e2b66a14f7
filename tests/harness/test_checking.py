"""`ratebp-bench check`: the parent's side, with a child that answers as told."""

from __future__ import annotations

import sys

import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.console import checks
from harness.errors import CheckError
from harness.run import checking
from harness.run.checking import CheckAnswer, CheckRequest, ask, exit_code, shape

CHILD = """
import json, os, signal, sys
for line in sys.stdin:
    method = json.loads(line)["method"]
    if method == "dies":
        print("free(): invalid pointer", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    if method == "exits":
        sys.exit("no torch here")
    if method == "unknown":
        print(json.dumps({"outcome": "invalid", "reason": "unknown method"}), flush=True)
        continue
    outcome = "wrong" if method == "wrong" else "exact"
    answer = {"outcome": outcome, "error": 0.5, "cosine": None, "leaf": "fc", "reason": method}
    print(json.dumps(answer), flush=True)
"""
COMMAND = (sys.executable, "-c", CHILD)


def asked(*methods: str) -> list[CheckAnswer]:
    return list(ask([CheckRequest("nets.py:Net", name) for name in methods], COMMAND))


def test_answers_come_in_order() -> None:
    answers = asked("one", "wrong", "two")
    assert [(a.request.method, a.outcome) for a in answers] == [
        ("one", "exact"),
        ("wrong", "wrong"),
        ("two", "exact"),
    ]
    assert exit_code(answers) == 1
    assert exit_code(answers[:1]) == 0


def test_a_method_that_kills_the_process_is_wrong_and_the_next_is_asked() -> None:
    answers = asked("dies", "one", "dies", "dies")
    assert [a.outcome for a in answers] == ["wrong", "exact", "wrong", "wrong"]
    assert answers[0].reason == "It ends the process, by signal 6. free(): invalid pointer"


@pytest.mark.parametrize(
    ("method", "words"), [("exits", "code 1(.|\n)*no torch here"), ("unknown", "unknown method")]
)
def test_what_cannot_be_asked(method: str, words: str) -> None:
    with pytest.raises(CheckError, match=words):
        asked("one", method)


def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(CheckError, match="cannot start"):
        list(ask([CheckRequest("nets.py:Net", "one")], ["/nonexistent/python"]))


def test_sizes() -> None:
    assert shape("3x32x32") == (3, 32, 32)
    assert shape("700") == (700,)
    for text in ("3x", "axb", "", "3x-1", "0x4"):
        with pytest.raises(CheckError, match="3x32x32"):
            shape(text)


def test_the_table_has_a_row_a_method() -> None:
    console = Console(width=100)
    with console.capture() as shown:
        for part in checks.table(asked("one", "wrong")):
            console.print(part)
    rows = [line for line in shown.get().splitlines() if line.strip().startswith(("one", "wrong"))]
    assert [line.split()[:3] for line in rows] == [
        ["one", "exact", "5.0e-01"],
        ["wrong", "wrong", "5.0e-01"],
    ]


def test_a_refusal_of_all_methods_is_told_once() -> None:
    found = [("one", "refused", "a loop"), ("two", "refused", "a loop"), ("three", "exact", "")]
    answers = [
        CheckAnswer(CheckRequest("nets.py:Net", m), out, reason=why) for m, out, why in found
    ]
    console = Console(width=100)
    with console.capture() as shown:
        for part in checks.table(answers):
            console.print(part)
    text = shown.get()
    assert text.count("a loop") == 1
    assert "as one" in text
    assert "2 refused, 1 exact" in text


@pytest.mark.parametrize(("method", "code"), [("one", 0), ("wrong", 1), ("exits", 2)])
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, method: str, code: int) -> None:
    monkeypatch.setattr(checking, "COMMAND", COMMAND)
    done = CliRunner().invoke(app, ["check", "nets.py:Net", "--method", method])
    if code == 2:
        assert isinstance(done.exception, CheckError)
    else:
        assert done.exit_code == code, done.output
        assert method in done.output
