"""What a gate shows, on a terminal, in a pull request and to programs; and how it ends."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from harness.console import gates
from harness.errors import SweepError
from harness.gate import output
from harness.gate.exact import ExactRequest
from harness.gate.files import Files
from harness.gate.verdict import Change, Exit, GateReport, Verdict

WORSE = Change(
    "sltt net T=4",
    "mem.live_peak, step",
    45_678,
    45_679,
    Verdict.WORSE,
    "B",
    45_679 / 45_678,
    reproduce="gate --method sltt",
    accept="gate --method sltt --update",
)
BETTER = replace(WORSE, quantity="ops.count, step", before=9, after=8, verdict=Verdict.BETTER)
BETTER = replace(BETTER, unit="1", ratio=8 / 9)
REFUSED = Change("os net T=2", "cell", "25 figures", "skipped: a | b\nand more", Verdict.REFUSED)
SLOWER = Change(
    *("rate", "ratio.step", 0.5, 0.6, Verdict.SLOWER, "1", 1.2),
    certainty="95 % interval 1.12 to 1.28",
)
REPORT = GateReport(
    "exact",
    "2 cells, 50 figures, with here",
    (BETTER, WORSE, REFUSED),
    ("a note",),
    ("sltt,net,4,mem.live_peak,step,45679,B",),
    "gate --update",
)


def _shown(report: GateReport, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    for part in gates.page(report):
        console.print(part, soft_wrap=isinstance(part, Text))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_figures_and_differences_are_written_for_people() -> None:
    assert output.shown(45_678, "B") == "45,678 B"
    assert output.shown(0.123456, "s") == "0.1235 s"
    assert output.shown(1.5, "1") == "1.5"
    assert output.shown(None, "B") == ""
    assert output.shown("Traceback:\n  File\nValueError: no", "") == "Traceback: ... ValueError: no"
    assert len(output.shown("x" * 999, "")) < 200
    assert output.difference(WORSE) == "+1 B (+0.0022 %)"
    assert output.difference(BETTER) == "-1 (-11 %)"
    assert output.difference(SLOWER) == "+20 %"
    assert output.difference(REFUSED) == ""


def test_the_gravest_come_first_and_a_subject_stays_together() -> None:
    assert output.ordered(REPORT.changes) == [REFUSED, WORSE, BETTER]
    other = replace(WORSE, subject="rate_m", ratio=3.0)
    assert output.ordered([WORSE, BETTER, other]) == [other, WORSE, BETTER]


def test_a_terminal_gets_all_and_the_verdict_last() -> None:
    lines = [" ".join(line.split()) for line in _shown(REPORT)]
    assert lines[0] == "os net T=2"
    assert lines[1] == "refused: cell: 25 figures -> skipped: a | b ... and more"
    assert "worse mem.live_peak, step 45,678 B 45,679 B +1 B (+0.0022 %)" in lines
    assert "better ops.count, step 9 8 -1 (-11 %)" in lines
    assert "sltt,net,4,mem.live_peak,step,45679,B" in lines
    assert lines[-5:] == [
        "a note",
        "reproduce: gate --method sltt",
        "accept, if intended: gate --update",
        "2 cells, 50 figures, with here: 1 refused, 1 worse, 1 better",
        "exact gate: regression (exit code 1)",
    ]
    accepted = _shown(replace(REPORT, accepted=True))
    assert accepted[-1] == "exact gate: fine (exit code 0)"
    assert not any(line.startswith("accept") for line in accepted)


def test_one_figure_of_many_subjects_makes_one_table_with_its_certainty() -> None:
    equal = replace(SLOWER, subject="online", verdict=Verdict.EQUAL, after=0.5, ratio=1.0)
    lines = [" ".join(line.split()) for line in _shown(GateReport("time", "x", (equal, SLOWER)))]
    assert lines[0] == "ratio.step"
    assert "SLOWER rate 0.5 0.6 +20 % 95 % interval 1.12 to 1.28" in lines
    assert lines[-1] == "time gate: regression (exit code 1)"


def test_long_reports_are_cut_with_a_word_of_it() -> None:
    many = [replace(WORSE, subject=f"cell {number}") for number in range(100)]
    report = replace(REPORT, changes=tuple(many), rows=("a,b",) * 500)
    assert "and 60 more changes; --json FILE has them all" in _shown(report)
    text = output.markdown(report)
    assert "... and 40 more changes" in text
    assert text.count("\n| **worse**") == output.MOST
    assert "# and 300 more" in text
    assert len(text) < 65_536
    assert len(json.loads(output.to_json(report))["changes"]) == 100


def test_markdown_says_what_how_much_how_certain_how_to_repeat_and_accept() -> None:
    text = output.markdown(REPORT)
    assert text.startswith("## exact gate: regression (exit code 1)\n")
    row = "| sltt net T=4 | mem.live_peak, step | 45,678 B | 45,679 B | +1 B (+0.0022 %) | exact |"
    assert f"| **worse** {row}" in text
    assert "skipped: a \\| b ... and more" in text
    assert "**Reproduce**\n\n```sh\ngate --method sltt\n```" in text
    assert "run, and commit what it writes\n\n```sh\ngate --update\n```" in text
    assert "```csv\nsltt,net,4,mem.live_peak,step,45679,B\n```" in text
    assert "Accept" not in output.markdown(replace(REPORT, accepted=True))


def test_json_has_everything() -> None:
    plain = json.loads(output.to_json(REPORT))
    assert plain["exit"] == {"code": 1, "name": "regression"}
    assert plain["changes"][1] == {
        "subject": "sltt net T=4",
        "quantity": "mem.live_peak, step",
        "before": 45_678,
        "after": 45_679,
        "verdict": "worse",
        "unit": "B",
        "ratio": 45_679 / 45_678,
        "certainty": "exact",
        "reproduce": "gate --method sltt",
        "accept": "gate --method sltt --update",
    }


def _raise(error: Exception) -> Callable[[], GateReport]:
    def work() -> GateReport:
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "code", "words"),
    [
        (lambda: REPORT, Exit.REGRESSION, "exact gate: regression (exit code 1)"),
        (_raise(SweepError("no such cell")), Exit.HARNESS_ERROR, "error: no such cell"),
        (_raise(ZeroDivisionError("a bug")), Exit.HARNESS_ERROR, "ZeroDivisionError: a bug"),
    ],
)
def test_whatever_comes_of_it_is_shown_written_and_named(
    work: Callable[[], GateReport], code: Exit, words: str, tmp_path: Path
) -> None:
    console = Console(file=io.StringIO(), width=100)
    files = Files(tmp_path / "gate.md", tmp_path / "gate.json")
    assert gates.settle("exact", work, console, files) is code
    assert isinstance(console.file, io.StringIO)
    assert words in console.file.getvalue()
    assert console.file.getvalue().endswith(f"exact gate: {code.words} (exit code {code:d})\n")
    assert words in (tmp_path / "gate.md").read_text()
    assert json.loads((tmp_path / "gate.json").read_text())["exit"]["code"] == code


def test_files_that_cannot_be_written_are_a_harness_error_but_hide_no_regression(
    tmp_path: Path,
) -> None:
    console = Console(file=io.StringIO(), width=100)
    (tmp_path / "file").touch()
    files = Files(markdown=tmp_path / "file" / "gate.md")
    fine = replace(REPORT, changes=())
    assert gates.settle("exact", lambda: fine, console, files) is Exit.HARNESS_ERROR
    assert gates.settle("exact", lambda: REPORT, console, files) is Exit.REGRESSION
    assert isinstance(console.file, io.StringIO)
    assert "cannot write" in console.file.getvalue()


def test_the_exact_tier_runs_from_its_command_and_names_the_missing_baseline(
    tmp_path: Path,
) -> None:
    console = Console(file=io.StringIO(), width=100)
    request = ExactRequest(baselines=tmp_path)
    assert gates.exact(request, console, Files()) is Exit.REBASELINE_NEEDED
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert f"ratebp-bench gate --exact --baselines {tmp_path} --update" in shown
    assert shown.endswith("exact gate: rebaseline needed (exit code 3)\n")
