"""The time tier from commits to its report, with processes that answer at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_project import SWEEP, InProcess, Project
from fakes import Recorder

from harness.gate.claims import Claim, choose, without
from harness.gate.time import PAIRS, PLACEBO, TimeRequest, compare, decide
from harness.gate.verdict import Change, Exit, GateReport, Verdict
from harness.gate.worktrees import SideError, checkouts
from harness.run.executors.local import LocalExecutor
from harness.spec import Cell, Choice
from harness.sweep.catalogue import Catalogue, parse

WOBBLE = np.array([-1.0, 0.8, -0.6, 0.4, -0.2, 0.1, 1.1, -0.7])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture
def gate(project: Project, tmp_path: Path) -> Any:
    """Run the tier between two commits of the project."""
    sweep = tmp_path / "demo.toml"
    sweep.write_text(SWEEP)

    def gate(
        head: str | None = None, executor: Any = InProcess, **options: Any
    ) -> tuple[GateReport, Recorder, int]:
        listener = Recorder()
        request = TimeRequest("main", head, sweep=str(sweep), **options)
        with checkouts(request.base, request.head, project.folder) as sides:
            report, values = compare(sides, request, listener, executor)
        return report, listener, len(values)

    return gate


def only(report: GateReport) -> Change:
    (change,) = report.changes
    return change


class TestWhole:
    @pytest.mark.deep
    def test_a_slower_method_fails_and_says_by_how_much(self, project: Project, gate: Any) -> None:
        project.change(wide=1.2)
        report, listener, processes = gate(executor=LocalExecutor)
        change = only(report)
        assert change.verdict is Verdict.SLOWER
        assert report.exit is Exit.REGRESSION
        assert (change.subject, change.quantity) == ("rate", "ratio.step")
        assert change.ratio == pytest.approx(1.2)
        assert (change.before, change.after) == (
            pytest.approx(1.0, rel=0.01),
            pytest.approx(1.2, rel=0.01),
        )
        assert change.certainty == "+20.0%, 95 % +20.0% to +20.0%, 8 pairs"
        assert "to accept what is SLOWER, merge it" in report.notes[-1]
        assert change.reproduce.startswith("ratebp-bench gate --time main --sweep ")
        assert processes == len(listener.todo) == 4 * PAIRS  # one cell, and the placebo's

    def test_a_faster_one_passes(self, project: Project, gate: Any) -> None:
        project.change(wide=0.8)
        report, _, _ = gate()
        assert only(report).verdict is Verdict.FASTER
        assert report.exit is Exit.FINE

    def test_equal_code_is_not_measured_unless_asked(self, gate: Any) -> None:
        report, listener, processes = gate("main")
        assert report.exit is Exit.FINE
        assert not listener.done
        assert not processes
        assert "differs in code" in report.notes[-1]
        report, _, processes = gate("main", everything=True)
        assert [change.verdict for change in report.changes] == [Verdict.EQUAL] * 2
        assert processes == (1 + 2 + 1) * 2 * PAIRS  # exact, rate, and the placebo like exact

    def test_only_the_families_asked_for(self, project: Project, gate: Any) -> None:
        project.change(library="two")
        report, _, _ = gate(families=("exact",))
        assert only(report).subject == "exact"
        with pytest.raises(SideError, match=r"unknown family 'rates'.*did you mean 'rate'"):
            gate(families=("rates",))

    def test_another_reference_cannot_be_compared(self, project: Project, gate: Any) -> None:
        project.change(reference=2, wide=1.5)
        report, listener, _ = gate()
        assert report.exit is Exit.REBASELINE_NEEDED
        assert "REFERENCE_VERSION is 1 at the base and 2 at the head" in report.notes[0]
        assert not listener.done

    def test_what_nobody_can_train_is_a_note(self, project: Project, gate: Any) -> None:
        project.change(wide="skipped")
        project.commit("wide is refused")
        project.change(wide="skipped", third=1.3, library="two")
        report, _, _ = gate()
        by_family = {change.subject: change.verdict for change in report.changes}
        assert by_family == {"exact": Verdict.EQUAL, "rate": Verdict.SLOWER}
        assert "wide is not measured: because of the table" in report.notes

    @pytest.mark.parametrize("end", ["crash", "skipped"])
    def test_a_head_that_fails_is_no_slowness(self, project: Project, gate: Any, end: str) -> None:
        project.change(wide=end)
        message = rf"the working tree.*wide gives no ratio.step \({end}\): because of the table"
        with pytest.raises(SideError, match=message):
            gate()

    def test_sides_alternate_and_pairs_are_neighbours(self, project: Project, gate: Any) -> None:
        project.change(wide=1.2)
        _, listener, _ = gate()
        codes = [spec.code for spec in listener.todo if spec.repeat < 2]
        base, head = codes[0], codes[1]
        assert codes == [base, head, base, base, head, base, base, base]
        assert [spec.repeat for spec in listener.todo] == sorted(
            spec.repeat for spec in listener.todo
        )

    def test_the_description_names_every_cell(self, project: Project, gate: Any) -> None:
        project.change(wide=1.2, third=1.1)
        report, _, _ = gate()
        assert "rate, cell by cell (no claim): wide +20.0%, third +10.0%" in report.notes
        assert only(report).ratio == pytest.approx((1.2 * 1.1) ** 0.5)
        assert re.search(r"margin 5\.0%; placebo \(base against base\) \+0\.0%", report.notes[0])
        family, placebo = report.spans
        assert dict(family.cells) == pytest.approx({"wide": 1.2, "third": 1.1})
        assert family.ratio == pytest.approx(only(report).ratio)
        assert (family.name, family.verdict, family.pairs) == ("rate", Verdict.SLOWER, 8)
        assert family.low is not None
        assert family.low <= family.ratio <= (family.high or 0)
        assert (placebo.name, placebo.ratio, report.margin) == ("placebo", 1, pytest.approx(1.05))


class TestDecide:
    """The protocol alone: looks, the placebo, the margin."""

    def decide(self, **arms: Any) -> tuple[Any, list[tuple[tuple[str, ...], range]]]:
        asked = []
        drawn: dict[str, list[float]] = {name: [] for name in arms}

        def measure(names: Sequence[str], pairs: range) -> dict[str, list[float]]:
            asked.append((tuple(names), pairs))
            for name in names:
                drawn[name] += list(arms[name][pairs.start : pairs.stop])
            return drawn

        return decide([name for name in arms if name != PLACEBO], measure), asked

    def test_one_look_where_all_is_clear(self) -> None:
        calm = np.tile(WOBBLE / 100, 2)
        decision, asked = self.decide(a=calm, b=calm + 0.2, placebo=calm)
        assert [asked_for[1] for asked_for in asked] == [range(8)]
        assert decision.findings["b"].verdict is Verdict.SLOWER
        assert decision.findings["a"].pairs == 8

    def test_the_undecided_and_the_placebo_get_a_second_look(self) -> None:
        calm = np.tile(WOBBLE / 100, 2)
        wild = np.concatenate([WOBBLE / 4, np.full(8, 0.2)])
        decision, asked = self.decide(a=calm + 0.2, b=wild, placebo=calm)
        assert asked == [(("a", "b", PLACEBO), range(8)), (("b", PLACEBO), range(8, 16))]
        assert decision.findings["a"].pairs == 8
        assert decision.findings["b"].pairs == decision.placebo.pairs == 16

    def test_there_is_no_third_look(self) -> None:
        wild = np.tile(WOBBLE, 2)
        decision, asked = self.decide(a=wild, placebo=wild / 100)
        assert len(asked) == 2
        assert decision.findings["a"].verdict is Verdict.INCONCLUSIVE

    def test_an_alarming_placebo_voids_the_job_at_once(self) -> None:
        calm = np.tile(WOBBLE / 100, 2)
        decision, asked = self.decide(a=np.tile(WOBBLE, 2), placebo=calm + 0.2)
        assert decision.void
        assert len(asked) == 1

    def test_a_biased_placebo_widens_the_margin(self) -> None:
        calm = np.tile(WOBBLE / 1000, 2)
        decision, _ = self.decide(a=calm + 0.07, placebo=calm + 0.045)
        assert not decision.void
        assert decision.margin == pytest.approx(0.09, abs=1e-3)
        assert decision.findings["a"].verdict is Verdict.EQUAL


class TestChoice:
    @pytest.fixture
    def catalogue(self, offered: Catalogue) -> Any:
        """The canned catalogue with other digests."""

        def catalogue(library: str = "same", **methods: str) -> Catalogue:
            import fake_catalogue

            entries = [
                entry | {"digest": methods.get(entry["name"], "same")}
                for entry in fake_catalogue.CATALOGUE["methods"]
                if methods.get(entry["name"]) != "absent"
            ]
            return parse(fake_catalogue.CATALOGUE | {"methods": entries, "digest": library})

        return catalogue

    cells = tuple(
        Cell(Choice(name), Choice("tiny"), "digits", 2, 4)
        for name in ("wide", "fine", "third", "oom", "torn")
    )

    def chosen(self, *catalogues: Catalogue, **options: Any) -> dict[str, list[str]]:
        claims, _ = choose(self.cells, *catalogues, **options)
        return {claim.family: [cell.method.name for cell in claim.cells] for claim in claims}

    def test_every_method_whose_file_has_changed(self, catalogue: Any) -> None:
        head = catalogue(third="x", oom="x", torn="x")
        assert self.chosen(catalogue(), head) == {"rate": ["third", "oom", "torn"]}

    def test_two_of_a_family_when_the_library_has(self, catalogue: Any) -> None:
        assert self.chosen(catalogue(), catalogue("new")) == {
            "exact": ["fine"],
            "rate": ["wide", "third"],
        }
        both = self.chosen(catalogue(), catalogue("new", torn="x"))
        assert both["rate"] == ["torn", "wide"]

    def test_a_new_method_has_no_base(self, catalogue: Any) -> None:
        claims, notes = choose(self.cells, catalogue(third="absent"), catalogue())
        assert not claims
        assert notes == ["third is new: there is nothing to compare it with"]

    def test_a_family_without_cells_makes_no_claim(self) -> None:
        claims = [Claim("exact", self.cells[1:2]), Claim("rate", self.cells[2:])]
        left = without(claims, {self.cells[1], self.cells[3]})
        assert left == [Claim("rate", (self.cells[2], self.cells[4]))]
