"""`ratebp-bench check`: the parent's side, with a child that answers as told."""

from __future__ import annotations

import sys

import fake_catalogue
import pytest
from rich.console import Console
from typer.testing import CliRunner

from harness.cli import app
from harness.console import checks
from harness.errors import CheckError
from harness.outcome import Outcome
from harness.planning.costs import STEPS
from harness.rows import Row
from harness.run import checking
from harness.run.checking import CheckAnswer, CheckRequest, KeepingAnswer, ask, exit_code, shape
from harness.sweep import catalogue

CHILD = """
import json, os, signal, sys
for line in sys.stdin:
    method = json.loads(line)["method"]
    if method == "dies":
        print("free(): invalid pointer", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGABRT)
    if method == "refuses":
        print(json.dumps({"outcome": "refused", "reason": "a loop"}), flush=True)
        continue
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


@pytest.mark.parametrize(
    ("method", "code"), [("one", 0), ("wrong", 1), ("exits", 2), ("refuses", 3)]
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, method: str, code: int) -> None:
    monkeypatch.setattr(checking, "COMMAND", COMMAND)
    known = catalogue.parse(fake_catalogue.CATALOGUE)
    monkeypatch.setattr(catalogue, "load", lambda: known)
    words = ["check", "tiny", "--option", "width=2", "--method", method, "--no-costs"]
    done = CliRunner().invoke(app, words)
    if code == 2:
        assert isinstance(done.exception, CheckError)
    else:
        assert done.exit_code == code, done.output
        assert method in done.output


def test_a_refusal_of_all_is_no_success_and_one_that_trains_is() -> None:
    answers = asked("refuses", "refuses", "one", "wrong")
    assert exit_code(answers[:2]) == 3
    assert exit_code(answers[:3]) == 0
    assert exit_code(answers) == 1


def test_options_are_written_as_in_a_sweep() -> None:
    texts = ["width=64", "share=0.5", "act=lif", "flag = true", "neuron.decay=0.2", "name='a=b'"]
    assert checking.options(texts) == {
        "width": 64,
        "share": 0.5,
        "act": "lif",
        "flag": True,
        "neuron": {"decay": 0.2},
        "name": "a=b",
    }
    for text in ("width", "=3", "a.=3"):
        with pytest.raises(CheckError, match="--option width=64"):
            checking.options([text])


def shown(parts: list[object]) -> str:
    console = Console(width=100)
    with console.capture() as text:
        for part in parts:
            console.print(part)
    return text.get()


def test_costs_have_a_table_a_figure_and_say_why_some_are_not_there() -> None:
    def counted(T: int) -> Outcome:
        figures = [("mem.live_peak", "step", "B", 10**9 * T), ("ops.flops", "step", "FLOP", 7 * T)]
        figures += [("mem.live_after_forward", "forward", "B", 10**6 + T)]
        return Outcome("ok", None, tuple(Row(m, p, u, "exact", (v,)) for m, p, u, v in figures))

    failed = Outcome("crash", "Traceback\nValueError: no")
    found = {"one": {T: counted(T) for T in STEPS}, "two": dict.fromkeys(STEPS, failed)}
    text = shown(checks.costs(found, 32))
    for words in ("peak, bytes of a step, batch 32", "8,000,000,000", "1,000,008", "56"):
        assert words in text
    assert "two: " in text
    assert "ValueError: no" in text


def test_leaves_that_keep_too_much_are_told_with_the_reason() -> None:
    leaf = {"path": "fc", "kind": "Linear", "nbytes": 30, "per_value": 4.0, "needless": True}
    leaves = ({**leaf, "why": "It reads means."}, {**leaf, "path": "lif", "needless": False})
    text = shown(checks.kept(KeepingAnswer(leaves, 4.25)))
    assert "4.2 bytes a neuron" in text
    assert "fc Linear" in text
    assert "50%" in text
    assert "It reads means." in text
    assert "lif" not in text.partition("Where leaves share")[0]
    assert "every leaf keeps as little" in shown(checks.kept(KeepingAnswer((leaves[1],), 4.0)))
    assert "cannot be told: a loop" in shown(checks.kept(KeepingAnswer(reason="a loop")))
