"""The bench on fake tensors and the parts of it that do not take a training step."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

import ratebp
from harness.errors import DataError
from harness.spec import Cell, Choice
from harness.trial.bench import build, virtual
from harness.trial.probe import Bench, Neuron

TINY = Choice.make("tiny_resnet", {"width": 0.125, "neuron": {"decay": 0.5}})


def cell(method: str = "bptt_s", T: int = 3, **other: object) -> Cell:
    fields = {"model": TINY, "data": "digits", "batch": 4, "dtype": "float64"} | other
    return Cell(Choice(method), T=T, **fields)  # type: ignore[arg-type]


def gradients(bench: Bench, method: str | None) -> list[torch.Tensor]:
    bench.model.zero_grad()
    bench.gradient(method, bench.x, bench.y)
    return [p.grad.clone() for p in bench.model.parameters() if p.grad is not None]


def test_a_virtual_bench_needs_neither_files_nor_memory() -> None:
    huge = cell(T=8, data="cifar10", batch=10**6, dtype="float32")
    with virtual(huge) as bench:
        assert bench.x.shape == (8, 10**6, 3, 32, 32)
        assert isinstance(bench.step(), FakeTensor)
        assert {p.dtype for p in bench.model.parameters()} == {torch.float32}
    with pytest.raises(DataError, match="unknown data set"), virtual(cell(data="cifar11")):
        pass


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_a_virtual_bench_has_the_types_of_the_real_one(dtype: str) -> None:
    real = build(cell(dtype=dtype))
    before = torch.get_default_dtype()
    with virtual(cell(dtype=dtype)) as fake:
        pairs = zip(real.persistent(), fake.persistent(), strict=True)
        assert all((a.shape, a.dtype) == (b.shape, b.dtype) for a, b in pairs)
    assert torch.get_default_dtype() == before


def test_the_gradient_of_another_method() -> None:
    bench = build(cell("rate_m"))
    own, exact = gradients(bench, None), gradients(bench, "bptt_m")
    other = gradients(build(cell("bptt_m")), None)
    assert all(map(torch.equal, exact, other))
    assert not all(map(torch.allclose, own, exact))


def test_a_gradient_moves_no_weight_even_of_a_method_that_updates_at_every_step() -> None:
    bench = build(cell("ottt_o"))
    before = [p.detach().clone() for p in bench.model.parameters()]
    found = gradients(bench, None)
    assert all(map(torch.equal, before, bench.model.parameters()))
    # Without updates, the gradients of the time steps add up to those of the accumulating form.
    assert all(map(torch.allclose, found, gradients(bench, "ottt_a")))


def test_the_neurons_are_those_of_the_model() -> None:
    bench = build(cell())
    paths = [path for path, part in bench.model.named_modules() if isinstance(part, ratebp.LIF)]
    assert bench.neurons == tuple(Neuron(path, 0.5, 1.0, "soft") for path in paths)
    assert len(paths) > 1
