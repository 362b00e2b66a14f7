"""Compiled and captured steps: what is run, what is refused, and what is said about it.

Compiled here by torch's own stand-ins for "inductor", which trace as that does and need no C++
compiler; a captured graph by one of ours (tests/gpu has the real ones).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch._inductor.exc import InvalidCxxCompiler

from harness.errors import AbsentError, TrialError
from harness.spec import Cell, Choice, Training, TrialSpec
from harness.trial import execution, trial
from harness.trial.bench import build, virtual
from harness.trial.exact import tier
from harness.trial.probe import Bench, unwatched
from harness.trial.probes.time import building, limits

TINY = Choice.make("tiny_resnet", {"width": 0.125})
CPU = torch.device("cpu")
CUDA = torch.device("cuda")


def cell(way: str, method: str = "sltt", device: str = "cpu", **other: object) -> Cell:
    fields = {"dtype": "float64", "execution": way} | other
    return Cell(Choice(method), TINY, "synthetic-3x8x8-10", 3, 2, device=device, **fields)  # type: ignore[arg-type]


def spec(asked: Cell, probe: str) -> TrialSpec:
    return TrialSpec("0", "demo", asked, probe, 0, 0, 60.0, "env", "code", 2)


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_BACKEND", "eager")


@pytest.fixture
def compiled(light: None) -> Bench:
    return build(cell("compile"))


def gradients(bench: Bench) -> list[Tensor]:
    bench.gradient(None, bench.x, bench.y)
    return [p.grad for p in bench.model.parameters() if p.grad is not None]


@pytest.mark.deep
@pytest.mark.parametrize("method", ["rate_m", "sltt"])
def test_compiled_gradients_are_the_eager_ones(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_BACKEND", "aot_eager")
    eager, compiled = (
        gradients(build(cell("eager", method))),
        build(cell("compile", method)),
    )
    pairs = list(zip(eager, gradients(compiled), strict=True))
    scale = max(float(a.abs().max()) for a, _ in pairs)
    assert max(float((a - b).abs().max()) for a, b in pairs) < 1e-12 * scale
    assert compiled.ran()["graphs"] > 0
    assert compiled.ran()["graph_breaks"] == 0


@pytest.mark.deep
def test_compiling_has_a_row_of_its_own_and_ends_before_the_samples(compiled: Bench) -> None:
    (row,) = building.build(compiled)
    assert (row.metric, row.phase, row.unit, row.kind) == ("time.compile", "step", "s", "noisy")
    assert row.values[0] > 0
    settled = compiled.ran()
    compiled.step()
    assert compiled.ran() == settled
    assert building.build(build(cell("eager"))) == ()


def test_a_compiled_step_is_counted_as_it_is_written(compiled: Bench) -> None:
    compiled.step()
    settled = compiled.ran()
    assert limits.work(compiled) == limits.work(build(cell("eager")))
    compiled.step()
    assert compiled.ran() == settled, "counting must not compile anything"


def test_samples_that_hold_the_compilers_time_are_refused() -> None:
    with pytest.raises(TrialError, match="compiled while it was timed"):
        building.check_settled({"graphs": 2}, {"graphs": 3})


@pytest.mark.deep
def test_a_step_that_is_compiled_for_ever_is_refused(compiled: Bench) -> None:
    numbers = iter(range(100))
    restless = {**compiled.__dict__, "ran": lambda: {"graphs": next(numbers)}}
    with pytest.raises(TrialError, match="still being compiled"):
        building.build(Bench(**restless))


def test_a_compiled_cell_has_no_exact_tier_and_says_why(light: None) -> None:
    answer = trial.run(spec(cell("compile"), "memory"))
    assert answer.status == "skipped"
    assert answer.error is not None
    assert "execution 'compile'" in answer.error
    assert "execution = 'eager'" in answer.error
    with virtual(cell("compile")) as bench, pytest.raises(AbsentError, match="another program"):
        tier.measure(bench)


def test_nothing_compiled_is_no_silent_eager_run(
    compiled: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.compiler.set_stance("force_eager"), pytest.raises(AbsentError, match="ran the step"):
        compiled.step()


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (InvalidCxxCompiler(), r"InvalidCxxCompiler.*g\+\+"),
        (torch._dynamo.exc.Unsupported("a call that breaks the graph"), "breaks the graph"),
        (torch._dynamo.exc.FailOnRecompileLimitHit("too often"), "too often"),
    ],
)
def test_what_torch_cannot_compile_is_a_named_refusal(cause: Exception, said: str) -> None:
    with pytest.raises(AbsentError, match=said), execution.Compiled().refusing():
        raise cause
    with pytest.raises(ZeroDivisionError), execution.Compiled().refusing():
        raise ZeroDivisionError


def test_a_captured_graph_needs_cuda_and_a_step_that_repeats() -> None:
    answer = trial.run(spec(cell("cuda_graph"), "time"))
    assert answer.status == "skipped"
    assert answer.error is not None
    assert "needs CUDA" in answer.error
    training = cell("cuda_graph", device="cuda", training=Training())
    with pytest.raises(AbsentError, match="one learning rate"):
        execution.of(training, CUDA)
    assert execution.of(cell("cuda_graph", device="cuda"), CUDA).phases == ()
    assert type(execution.of(cell("eager"), CPU)) is execution.Execution


class Graph:
    replays = 0

    def replay(self) -> None:
        self.replays += 1


class Stream:
    def wait_stream(self, _: object) -> None: ...


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Stand-ins for torch's; every graph that was captured."""
    captured: list[Graph] = []

    @contextmanager
    def capture(graph: Graph) -> Iterator[None]:
        yield
        captured.append(graph)

    @contextmanager
    def on(_: Stream) -> Iterator[None]:
        yield

    stand_ins = {"CUDAGraph": Graph, "graph": capture, "Stream": Stream, "stream": on}
    for name, stand_in in (stand_ins | {"current_stream": Stream}).items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return captured


def test_one_step_is_captured_and_replayed_on_its_own_batch(graphs: list[Graph]) -> None:
    bench = build(cell("eager"))
    way, runs = execution.Graphed(), [0]

    def run(*step: object) -> Tensor:
        runs[0] += 1
        return bench.as_written(*step)  # type: ignore[arg-type]

    before = way.facts()
    for _ in range(4):
        loss = way.step(run, bench.x, bench.y, unwatched)
    assert torch.isfinite(loss)
    assert runs == [4], "three of warm-up and the captured one"
    assert [graph.replays for graph in graphs] == [4]
    assert before["graphs"] == 0
    assert way.facts()["graphs"] == 1
    with pytest.raises(TrialError, match="holds another batch"):
        way.step(run, bench.x.clone(), bench.y, unwatched)


@pytest.mark.parametrize("name", ["torch", "random"])
def test_random_numbers_of_the_host_cannot_be_captured(graphs: list[Graph], name: str) -> None:
    draw = {"torch": lambda: torch.rand(1), "random": random.random}[name]

    def run(*_: object) -> Tensor:
        draw()
        return torch.zeros(())

    with pytest.raises(AbsentError, match=rf"draws random numbers on the host \({name}\)"):
        execution.Graphed().step(run, torch.zeros(1), torch.zeros(1), unwatched)


def test_what_cuda_cannot_capture_is_a_refusal(graphs: list[Graph]) -> None:
    calls = iter(range(9))

    def run(*_: object) -> Tensor:
        if next(calls) == 3:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        return torch.zeros(())

    with pytest.raises(AbsentError, match=r"cannot be captured: .*capturing; run the cell"):
        execution.Graphed().step(run, torch.zeros(1), torch.zeros(1), unwatched)
