"""Trials of the real library on small cells, and what each failure becomes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from probe_bench import small_heap

import ratebp
from harness.errors import DataError, TrialError
from harness.outcome import Outcome
from harness.rows import MEASUREMENT_VERSION, Row
from harness.spec import Cell, Choice, Training, TrialSpec
from harness.trial import trial
from harness.trial.bench import COST_RATE, build
from harness.trial.probe import PHASES
from harness.trial.probes.memory import Memory

# tiny_resnet has norms
METHODS = [name for name in ratebp.methods.names() if ratebp.methods.get(name).info.norms]


@pytest.fixture(autouse=True, scope="module")
def _small_heap() -> Iterator[None]:
    with small_heap():
        yield


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Trials set the number of threads of their process; here it is the tests' own."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def cell(method: str = "bptt_m", T: int = 2, **fields: Any) -> Cell:
    model = Choice.make("tiny_resnet", {"width": 0.5})
    return replace(Cell(Choice.make(method), model, "digits", T, 8), **fields)


def run(asked: Cell, probe: str = "memory") -> Outcome:
    return trial.run(
        TrialSpec("id", "sweep", asked, probe, 0, 0, 60.0, "env", "code", MEASUREMENT_VERSION)
    )


def values(rows: tuple[Row, ...]) -> dict[tuple[str, str], float]:
    return {(row.metric, row.phase): row.values[0] for row in rows}


@pytest.mark.deep_but("rate_m")
@pytest.mark.parametrize("method", METHODS)
def test_a_memory_trial_shows_the_memory_class_that_the_method_claims(method: str) -> None:
    stored = {}
    for T in (2, 4, 8):
        value = values(Memory().measure(build(cell(method, T))).rows)
        stored[T] = value["mem.live_after_forward", "forward"]
        assert value["mem.trace", "forward"] == (
            value["mem.live_peak", "forward"] - value["mem.plain_forward", "forward"]
        )
        assert value["mem.live_peak", "step"] >= stored[T] > 0
    growth = (stored[4] - stored[2], stored[8] - stored[4])
    if ratebp.methods.get(method).info.memory == "constant":
        assert growth == (0, 0)
    else:
        assert growth[1] == 2 * growth[0] > 0


def test_a_method_that_refuses_norms_is_skipped_with_the_place() -> None:
    answer = run(cell("saf_e"))
    assert answer.status == "skipped"
    assert "BatchNorm2d at `stem" in str(answer.error)


def test_a_time_trial_answers_with_rows_and_facts() -> None:
    answer = run(cell("ottt_a"), "time")
    assert (answer.status, answer.error) == ("ok", None)
    assert {row.metric for row in answer.rows} == {
        f"time.{part}" for part in (*PHASES, "plain_forward", "trace", "step", "reference")
    } | {"ratio.step", "ratio.backward"}
    expected = {"torch": torch.__version__, "device": "cpu", "threads": 1, "optimizer": "SGD"}
    assert expected.items() <= answer.facts.items()
    model = ratebp.models.build("tiny_resnet", num_classes=10, in_channels=1, width=0.5)
    assert answer.facts["parameters"] == sum(p.numel() for p in model.parameters())
    plain = answer.to_json()
    assert [Row.from_json(row) for row in plain["rows"]] == list(answer.rows)


def test_malloc_settings_are_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = build(cell())
    for name in ("MALLOC_ARENA_MAX", "MALLOC_TOP_PAD_"):
        monkeypatch.delenv(name, raising=False)
    assert trial.describe(bench)["malloc"] == "default"
    monkeypatch.setenv("MALLOC_TOP_PAD_", "5")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    assert trial.describe(bench)["malloc"] == "MALLOC_ARENA_MAX=1 MALLOC_TOP_PAD_=5"


@pytest.mark.parametrize("method", ["bptt_m", "rate_m"])
def test_an_accuracy_trial_beats_chance_clearly(method: str) -> None:
    budget = Training(epochs=3, lr=0.1)
    answer = run(cell(method, T=3, batch=32, training=budget), "accuracy")
    assert (answer.status, answer.error) == ("ok", None)
    value = values(answer.rows)
    assert value["acc.test", "test"] > 0.6  # chance is 0.1
    losses = next(row.values for row in answer.rows if row.metric == "loss.train")
    assert losses[-1] < losses[0]


def test_a_diverging_training_is_invalid() -> None:
    answer = run(cell(training=Training(lr=1e30, weight_decay=1e30), batch=256), "accuracy")
    assert answer.status == "invalid"
    assert answer.error is not None
    assert answer.error.startswith("loss became nan at update")
    assert "torch" in answer.facts


def test_the_same_cell_is_built_the_same() -> None:
    first, second = build(cell()), build(cell())
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.y, second.y)
    for bench in (first, second):
        bench.step()
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    other = build(cell(seed=1))
    assert not torch.equal(first.x, other.x)
    assert not torch.equal(next(first.model.parameters()), next(other.model.parameters()))


def test_a_method_that_updates_at_every_time_step_gets_no_further_update() -> None:
    for name, updates in (("ottt_o", 3), ("ottt_a", 1)):
        bench = build(cell(name, 3))
        entered: list[str] = []

        @contextmanager
        def phase(name: str, entered: list[str] = entered) -> Iterator[None]:
            entered.append(name)
            yield

        bench.step(phase)
        assert entered.count("update") == updates
        assert entered.count("forward") == entered.count("backward") == 3


def test_a_step_updates_and_zeroes_the_gradients_in_place() -> None:
    bench = build(cell())
    before = [p.detach().clone() for p in bench.model.parameters()]
    bench.step()
    grads = [p.grad for p in bench.model.parameters()]
    bench.step()
    assert all(p.grad is g for p, g in zip(bench.model.parameters(), grads, strict=True))
    assert all(g is not None and not g.any() for g in grads)
    pairs = zip(before, bench.model.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)
    assert len(bench.persistent()) == 3 * len(grads) + len([*bench.model.buffers()]) + 2


@pytest.mark.parametrize(
    ("dtype", "parameters", "logits"),
    [
        ("float32", torch.float32, torch.float32),
        ("float64", torch.float64, torch.float64),
        ("bfloat16", torch.float32, torch.bfloat16),
    ],
)
def test_dtypes(dtype: str, parameters: torch.dtype, logits: torch.dtype) -> None:
    bench = build(cell(dtype=dtype))
    assert bench.x.dtype is parameters
    assert {p.dtype for p in bench.model.parameters()} == {parameters}
    assert bench.plain_forward().dtype is logits
    assert bench.infer(bench.x).dtype is logits
    assert torch.isfinite(bench.step())


def test_optimisers_are_those_of_the_budget() -> None:
    costs = build(cell()).optimizer
    assert isinstance(costs, torch.optim.SGD)
    assert (costs.defaults["momentum"], costs.defaults["lr"]) == (0.9, COST_RATE)
    budget = Training(optimizer="adam", lr=0.02, weight_decay=0.1)
    adam = build(cell(training=budget)).optimizer
    assert isinstance(adam, torch.optim.Adam)
    assert (adam.defaults["lr"], adam.defaults["weight_decay"]) == (0.02, 0.1)
    sgd = build(cell(training=replace(budget, optimizer="sgd", momentum=0.5))).optimizer
    assert isinstance(sgd, torch.optim.SGD)
    assert (sgd.defaults["momentum"], sgd.defaults["weight_decay"]) == (0.5, 0.1)


def test_batches_are_encoded_and_leave_no_small_batch_to_train_on() -> None:
    bench = build(cell(T=3, batch=100))
    train = list(bench.batches("train", 0))
    assert len(train) == bench.updates_per_epoch == 14
    assert all(x.shape == (3, 100, 1, 8, 8) and x.stride(0) == 0 for x, _ in train)
    assert [len(y) for _, y in bench.batches("test", 0)] == [100, 100, 100, 60]
    assert torch.equal(train[0][0], bench.x)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": Choice("bptt_n")}, "unknown method 'bptt_n'"),
        ({"method": Choice.make("rate_m", {"grad_scale": "two"})}, "grad_scale"),
        ({"model": Choice("resnet17")}, "unknown model 'resnet17'"),
        ({"data": "digit"}, "unknown data set 'digit'"),
        ({"batch": 99_999}, "99999"),
    ],
)
def test_what_the_user_can_mend_is_invalid(change: dict[str, Any], words: str) -> None:
    answer = run(replace(cell(), **change))
    assert answer.status == "invalid"
    assert answer.error is not None
    assert words in answer.error
    assert "Traceback" not in answer.error


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_missing_gpu_is_named() -> None:
    answer = run(cell(device="cuda"))
    assert answer.status == "invalid"
    assert "legal here: cpu" in str(answer.error)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB"), "oom_cuda"),
        (RuntimeError("CUDA error: out of memory"), "oom_cuda"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "oom_cuda"),
        (MemoryError(), "oom_host"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "oom_host"),
        (TrialError("why"), "invalid"),
        (DataError("why"), "invalid"),
        (ratebp.OptionError("why"), "invalid"),
        (ratebp.BindError("why"), "skipped"),
        (ratebp.StaleViewError("why"), "crash"),
        (RuntimeError("anything"), "crash"),
    ],
)
def test_each_failure_has_its_status(error: Exception, status: str) -> None:
    judged, text = trial.judge(error)
    assert judged == status
    assert str(error) in text
    if status in ("invalid", "skipped"):
        assert text == "why"


def test_the_allocator_of_the_cpu_says_so_when_it_has_no_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert trial.judge(caught.value)[0] == "oom_host"


def test_a_crash_tells_the_end_of_its_traceback() -> None:
    def deep(n: int) -> None:
        if n == 0:
            raise ValueError("here")
        deep(n - 1)

    with pytest.raises(ValueError, match="here") as caught:
        deep(3)
    status, text = trial.judge(caught.value)
    assert status == "crash"
    assert text.splitlines()[-1] == "ValueError: here"
    assert 'raise ValueError("here")' in text
