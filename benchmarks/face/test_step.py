"""One training step of every method, in pytest-benchmark's clothes.

    pytest benchmarks/face --benchmark-enable --benchmark-autosave
    pytest benchmarks/face --benchmark-enable --benchmark-compare

Seconds are pytest-benchmark's own, of one process: look at them, do not gate on them. The exact
figures in `extra_info` (bytes and operations) are those of `ratebp-bench gate --exact`.
"""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from harness.spec import Cell, Choice
from harness.sweep import catalogue
from harness.trial import trial
from harness.trial.bench import build, usual
from harness.trial.exact import tier
from harness.trial.probe import Bench

MODEL = Choice.make("tiny_resnet", {"width": 0.5})
ROUNDS = 5
WARM_UP = 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a method, plug-ins among them, with no list to keep."""
    metafunc.parametrize("method", list(catalogue.load().methods))


@pytest.fixture(autouse=True)
def one_thread() -> object:
    """Building a bench sets the number of threads; put it back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def built(cell: Cell) -> Bench:
    """The bench, or a skip where the method cannot train this network."""
    try:
        return build(cell)
    except Exception as error:
        status, why = trial.judge(error)
        if status == "skipped":
            pytest.skip(why)
        raise


def test_step(benchmark: BenchmarkFixture, method: str) -> None:
    """Count one step exactly, then time a few."""
    cell = Cell(Choice(method), MODEL, "digits", T=4, batch=32, operators=usual("cpu"))
    bench = built(cell)
    benchmark.group = (
        f"training step: {MODEL.label}, {cell.data.label}, T={cell.T}, batch={cell.batch}"
    )
    benchmark.extra_info["operators"] = bench.operators
    for row in tier.measure(bench).rows:
        benchmark.extra_info[f"{row.metric} {row.phase} [{row.unit}]"] = int(row.values[0])
    benchmark.pedantic(bench.step, rounds=ROUNDS, warmup_rounds=WARM_UP, iterations=1)
