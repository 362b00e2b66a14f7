"""Which operators run is an axis of a cell: whatever is timed is what is counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import CATALOGUE
from probe_bench import small_heap
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from harness.errors import AbsentError, SweepError
from harness.gate import exact as gate
from harness.outcome import Outcome
from harness.planning import plan
from harness.planning.client import Planner
from harness.results.store import Store
from harness.rows import Row
from harness.run import forecast
from harness.run.executors.local import LocalExecutor
from harness.spec import Cell, Choice, TrialSpec
from harness.sweep import catalogue
from harness.sweep.catalogue import Catalogue
from harness.sweep.expand import ask
from harness.sweep.file import Sweep
from harness.trial import trial
from harness.trial.bench import build, usual, virtual
from harness.trial.exact import tier
from harness.trial.probe import Bench
from ratebp.ops import cpp

MODEL = Choice.make("tiny_resnet", {"width": 0.125})
NEEDS_COMPILER = pytest.mark.skipif(bool(cpp.missing()), reason=cpp.missing())


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> Iterator[None]:
    with small_heap():
        yield


def cell(method: str = "bptt_m", operators: str = "cpp", **fields: Any) -> Cell:
    return dataclasses.replace(
        Cell(Choice(method), MODEL, "digits", 3, 4, operators=operators), **fields
    )


def with_auto(offered: Catalogue, **operators: dict[str, str]) -> Catalogue:
    return dataclasses.replace(offered, operators=operators)


def sweep(**axes: Any) -> Sweep:
    grid = {"probes": ["time", "memory"], "method": "fine", "model": "tiny", "data": "digits"}
    return Sweep.model_validate({"name": "s", "grid": [grid | {"T": 1, "batch": 2} | axes]})


class Seen(TorchDispatchMode):
    """Notes which of the library's own operators run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == "ratebp":
            self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def test_auto_is_resolved_once_for_all_probes_of_a_cell(offered: Catalogue) -> None:
    here = with_auto(offered, cpu={"eager": "cpp", "compiled": "torch"})
    found = ask(sweep(execution=["eager", "compile"]), here)
    assert {(q.probe, q.cell.execution, q.cell.operators) for q in found} == {
        *(("time", "eager", "cpp"), ("memory", "eager", "cpp")),
        *(("time", "compile", "torch"), ("memory", "compile", "torch")),
    }
    several = ask(sweep(operators=["auto", "torch", "cpp"]), here)
    assert [q.cell.operators for q in several if q.probe == "time"] == ["cpp", "torch"]
    assert len({q.cell for q in several}) == 2


def test_a_plan_counts_torch_s_unless_others_are_named(offered: Catalogue) -> None:
    here = with_auto(offered, cpu={"eager": "cpp", "compiled": "torch"})
    assert {c.operators for c in plan.cells(sweep(), here)} == {"torch"}
    assert {c.operators for c in plan.cells(sweep(operators=["cpp", "auto"]), here)} == {
        "cpp",
        "torch",
    }


@NEEDS_COMPILER
def test_what_is_timed_is_what_is_counted() -> None:
    found = {}
    for operators in ("cpp", "torch"):
        bench = build(cell("rate_m", operators))
        told = tier.measure(bench)
        assert told.facts["operators"] == trial.describe(bench)["operators"] == operators
        figures = {(row.metric, row.phase): row.values[0] for row in told.rows}
        parts: dict[str, Callable[[], object]] = {
            "step": bench.step,
            "plain": bench.plain_forward,
            "reference": lambda bench=bench: bench.gradient("bptt_m", bench.x, bench.y),
        }
        for name, part in parts.items():
            with Seen() as seen:
                part()
            assert bool(seen.names) == (operators == "cpp"), name
        found[operators] = figures
    assert found["cpp"]["ops.count", "step"] < found["torch"]["ops.count", "step"]
    assert found["cpp"]["ops.flops", "step"] == found["torch"]["ops.flops", "step"]


@pytest.mark.deep_but("bptt_m", "rate_m")
@NEEDS_COMPILER
@pytest.mark.parametrize("method", ["bptt_m", "bptt_s", "bptt_ckpt", "rate_m", "ottt_a", "dsr"])
def test_fake_tensors_count_the_cpp_program_as_real_ones_do(method: str) -> None:
    def rows(bench: Bench) -> tuple[Row, ...]:
        return tier.measure(bench).rows

    wide = Choice.make("tiny_resnet", {"width": 0.5})  # see harness.trial.memory_format
    last = {"memory_format": "channels_last", "model": wide}
    for fields in ({}, last, {"dtype": "float64"}):
        asked = cell(method, **fields)
        real = rows(build(asked))
        with virtual(asked) as fake:
            assert rows(fake) == real


@pytest.mark.deep
def test_a_switch_of_the_environment_decides_no_figure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It says what "auto" stands for, and that is in the id."""
    monkeypatch.setenv("RATEBP_OPS", "cpp")
    assert catalogue.load().operators == {
        "cpu": {"eager": "cpp", "compiled": "torch"},
        "cuda": {"eager": "cpp", "compiled": "torch"},
    }
    spec = TrialSpec("id", "s", cell("sltt", "torch"), "memory", 0, 0, 60.0, "e", "c", 2)
    outcome = LocalExecutor().run(spec, tmp_path / "trial")
    assert (outcome.status, outcome.facts["operators"]) == ("ok", "torch"), outcome.error


@pytest.mark.deep
def test_without_a_compiler_a_cpp_cell_is_skipped_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", "/nowhere/g++")
    assert catalogue.load().auto_operators("cpu", "eager") == "torch"
    spec = TrialSpec("id", "s", cell(), "time", 0, 0, 60.0, "e", "c", 2)
    outcome = LocalExecutor().run(spec, tmp_path / "trial")
    with Planner(1) as planner:
        ((_, prediction),) = planner.predict([cell()])
    for told in (outcome, prediction):
        assert told.status == "skipped"
        assert told.rows == ()
        for words in ("operators 'cpp' cannot run on 'cpu'", "install g++", "operators = 'torch'"):
            assert words in str(told.error)


def test_a_graph_has_torch_s_operators_alone() -> None:
    with pytest.raises(AbsentError, match=r"calls none of the library's C\+\+ there; legal"):
        build(cell(execution="compile"))
    with pytest.raises(AbsentError, match="operators 'triton' cannot run on 'cpu'"):
        build(cell(operators="triton"))


def test_the_forecast_counts_a_gpu_s_cells_on_torch_s_operators() -> None:
    asked: list[Cell] = []

    def predict(cells: Any) -> Iterator[tuple[Cell, Outcome]]:
        for each in cells:
            asked.append(each)
            rows = [("mem.persistent", 0), ("mem.live_peak", 10**9)]
            yield (
                each,
                Outcome(
                    "ok", rows=tuple(Row(name, "step", "B", "exact", (v,)) for name, v in rows)
                ),
            )

    on_gpu = [cell(operators=name, device="cuda") for name in ("triton", "torch")]
    needs = forecast.foresee(on_gpu, predict, {"cuda": 10**6})
    assert set(needs) == set(on_gpu)
    assert {each.operators for each in asked} == {"torch"}


@pytest.mark.parametrize(
    ("axis", "value"),
    [("operators", "cpp"), ("memory_format", "channels_last"), ("execution", "compile")],
)
def test_the_exact_gate_refuses_what_its_baselines_do_not_name(
    axis: str, value: str, write_sweep: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_sweep(probes=["memory"], **{axis: value})
    request = gate.ExactRequest(str(path), tmp_path / "baselines", update=True)
    with Planner(1) as planner, pytest.raises(SweepError, match=f"not of '{value}'") as told:
        gate.run(request, planner, None, command=CATALOGUE)  # type: ignore[arg-type]
    assert f"a baseline holds cells of {axis} = " in str(told.value)


def test_a_record_from_before_says_its_operators_in_a_fact(tmp_path: Path) -> None:
    record = {
        **{"schema": 1, "trial": "aa", "sweep": "s", "probe": "time", "repeat": 0, "status": "ok"},
        **{"cell": cell(operators="torch").to_json(), "code": {"digest": "c"}, "rows": []},
    }
    found = []
    for changes in ({"facts": {"operators": "cpp"}}, {"facts": {}}, {"schema": 2}):
        Store(tmp_path).write_record(record | changes)
        found += Store(tmp_path).tables().trials["operators"].tolist()
    Store(tmp_path).write_record(record | {"schema": 2, "cell": cell().to_json()})
    found += Store(tmp_path).tables().trials["operators"].tolist()
    assert found == ["cpp", "torch", "torch", "cpp"]


def test_operators_of_the_usual_choice_can_run_here() -> None:
    assert build(cell(operators=usual("cpu"))).operators == usual("cpu")
