"""Operations by phase: FLOPs against torch's own counter, bytes against closed forms, refusals."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, library, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula

from harness.errors import TrialError
from harness.spec import Cell, Choice
from harness.trial.bench import virtual
from harness.trial.exact.counters import Cost, Operations
from harness.trial.exact.tracker import LiveBytes

N = 4000  # bytes of `block()`


def block(shape: tuple[int, ...] = (10, 100)) -> Tensor:
    return torch.ones(shape)


def cost(work: Callable[[], object]) -> Cost:
    with Operations() as operations:
        work()
    return operations.total()


x, y = block(), block()
flags = x > 0
row = block((100,))

CASES: dict[str, tuple[Callable[[], object], int, int]] = {
    "two arguments": (lambda: x + y, 1, 3 * N),
    "a Python number": (lambda: x * 2, 1, 2 * N),
    "the same argument twice": (lambda: x * x, 1, 3 * N),
    "a comparison writes bools": (lambda: x >= 1, 1, N + N // 4),
    "three arguments": (lambda: torch.where(flags, x, y), 1, 3 * N + N // 4),
    "in place: read and written": (lambda: x.add_(0), 1, 2 * N),
    "in place, untagged overload": (lambda: x.masked_fill_(flags, 1.0), 1, 2 * N + N // 4),
    "out is written only": (lambda: torch.add(x, y, out=torch.empty(10, 100)), 1, 3 * N),
    "a fill is written only": (lambda: x.fill_(1), 1, N),
    "zeroed in place": (lambda: torch.empty(10, 100).zero_(), 1, N),
    "a copy": (lambda: torch.empty(10, 100).copy_(x), 1, 2 * N),
    "a cast": (lambda: x.double(), 1, 3 * N),
    "zeros of a shape": (lambda: torch.zeros_like(x), 1, N),
    "broadcast": (lambda: x + row, 1, 2 * N + 400),
    "an expanded argument is read once": (lambda: row.expand(10, 100) * x, 1, 2 * N + 400),
    "a stack": (lambda: torch.stack([x, y]), 1, 4 * N),
    "several tensors at once": (lambda: torch._foreach_add_([x, y], [y, x]), 1, 6 * N),
    "a norm over several tensors": (lambda: torch._foreach_norm([x, y]), 1, 0),
    "a reduction": (lambda: x.sum(), 1, 0),
    "a product": (lambda: x @ y.t(), 1, 0),
    "views": (lambda: (x.t(), x[1], x.detach(), x.view(-1), row.expand(7, 100)), 0, 0),
    "memory nobody writes": (lambda: (torch.empty(9), torch.empty_like(x)), 0, 0),
    "nothing there": (lambda: torch.empty(0, 5) * 2, 1, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_operators_and_their_bytes(name: str) -> None:
    work, count, nbytes = CASES[name]
    found = cost(work)
    assert (found.count, found.elem_bytes) == (count, nbytes)


def test_the_update_of_sgd_has_a_closed_form() -> None:
    """m = 0.9 m + g, w = w - lr m, then g = 0: three reads and two writes, and more of it twice."""
    weight = block().requires_grad_()
    weight.grad = block()
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9, foreach=False)
    optimizer.step()

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    assert cost(update) == Cost(count=4, flops=0, elem_bytes=(2 + 3 + 3 + 1) * N)


def test_phases_add_up_and_keep_apart() -> None:
    with Operations() as operations:
        for _ in range(2):
            with operations.phase("forward"):
                z = x @ y.t()
            with operations.phase("backward"):
                z * 2
        z + 1
    assert operations.total("forward") == Cost(2, 2 * 2 * 10 * 100 * 10, 0)
    assert operations.total("backward") == Cost(2, 0, 2 * 2 * 400)
    assert operations.total() == Cost(5, 2 * 2 * 10 * 100 * 10, 3 * 2 * 400)
    with pytest.raises(KeyError):
        operations.total("update")


def test_no_tensor_is_kept() -> None:
    with Operations():
        z = x + 1
        gone = weakref.ref(z.untyped_storage())
        del z
        assert gone() is None


def test_composite_operators_count_as_their_parts() -> None:
    """`inference_mode` hands them over whole."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5))
    image = torch.ones(2, 3, 8, 8)
    for watcher in (Operations, lambda: LiveBytes([*layers.parameters(), image])):
        found = []
        for guard in (torch.no_grad, torch.inference_mode):
            with watcher() as mode, guard():
                layers(image)
            found.append(mode.total() if isinstance(mode, Operations) else mode.peak())
        assert found[0] == found[1]
        assert found[0] not in (0, Cost())


@pytest.mark.parametrize(
    ("method", "model", "between"),
    [
        ("bptt_m", "tiny_resnet", 0),
        ("bptt_s", "vgg11", 0),
        ("rate_m", "tiny_resnet", 0),
        ("bptt_ckpt", "tiny_resnet", 0),
        ("ottt_a", "tiny_resnet", 2),  # the means over time of what the step returns
    ],
)
def test_flops_are_those_of_torchs_own_counter(method: str, model: str, between: int) -> None:
    small = Choice.make(model, {"width": 0.05})
    with virtual(Cell(Choice(method), small, "synthetic-3x16x16-4", 2, 2)) as bench:
        bench.step()
        with Operations() as mine:
            bench.step(mine.phase)
        with FlopCounterMode(display=False) as theirs:
            bench.step()
    total = mine.total()
    assert total.flops == theirs.get_total_flops() > 0
    parts = sum((mine.total(phase) for phase in ("forward", "backward", "update")), Cost())
    assert total.flops == parts.flops
    assert total.count == parts.count + between
    assert (total.elem_bytes == parts.elem_bytes) is (between == 0)


def test_an_observer_sees_what_the_mode_sees() -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    batch = torch.ones(3, 4)
    with Operations() as alone:
        net(batch).sum().backward()
    beside = Operations()
    with FakeTensorMode(allow_non_fake_inputs=True), LiveBytes(observer=beside.observe):
        fake = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
        input_ = torch.ones(3, 4)
        made = beside.total()
        fake(input_).sum().backward()
    after = beside.total()
    assert Cost(after.count - made.count, after.flops - made.flops, 0) == Cost(
        alone.total().count, alone.total().flops, 0
    )


def test_a_foreign_operator_must_say_what_it_costs() -> None:
    @library.custom_op("counted::shift", mutates_args=())
    def shift(x: Tensor) -> Tensor:
        return x + 1

    with pytest.raises(TrialError, match=r"counted\.shift.*register_flop_formula"), Operations():
        shift(x)

    packet = torch.ops.counted.shift

    @register_flop_formula(packet)
    def flops(shape: torch.Size, *_: Any, **__: Any) -> int:
        return 7 * shape.numel()

    try:
        assert cost(lambda: shift(x)) == Cost(1, 7 * 1000, 0)
    finally:
        del flop_registry[packet]


def test_a_foreign_operator_may_be_tagged_element_wise() -> None:
    @library.custom_op("counted::twice", mutates_args=(), tags=(torch.Tag.pointwise,))
    def twice(x: Tensor) -> Tensor:
        return x * 2

    assert cost(lambda: twice(x)) == Cost(1, 0, 2 * N)
