"""A constant input: what is the same at every step runs once, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import ratebp
from ratebp.method import Bound
from ratebp.ops import every_step, sum_of_steps
from ratebp.testing import fitting, problem, seeded_step
from ratebp.wiring import trace

RATES = {"pre_activations": "recomputed"}
METHODS: list[tuple[str, dict[str, Any]]] = [
    ("bptt_m", {}),
    ("rate_m", {}),
    ("rate_m", RATES),
    ("tandem", {}),
    ("dsr", {}),
    ("rga", {}),
]
ALL = pytest.mark.parametrize(("name", "options"), METHODS)


def after(model: nn.Module, run: Callable[[], Tensor]) -> list[Tensor | None]:
    logits = run()
    return [logits, *(p.grad for p in model.parameters()), *(b for b in model.buffers())]


def flops(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def each_step(x: Tensor) -> Tensor:
    """Return `x` with memory of its own at every step, so that nobody sees it is constant."""
    return x.clone(memory_format=torch.contiguous_format)


def step(bound: Bound, x: Tensor, y: Tensor) -> Callable[[], Tensor]:
    return lambda: seeded_step(bound, x, y).logits


@pytest.mark.parametrize("norm", ["none", "batch", "frozen"])
@pytest.mark.parametrize("timesteps", [1, 3])
@ALL
def test_a_step_is_that_of_any_input(
    name: str, options: dict[str, Any], timesteps: int, norm: str
) -> None:
    """Values, gradients and running statistics, in less arithmetic."""
    found, counts = [], []
    for copied in (False, True):
        method = ratebp.methods.get(name, **options)
        case = fitting(method, norm=norm, timesteps=timesteps)
        bound = method.bind(case.model, timesteps)
        x = ratebp.direct(case.x[0], timesteps)
        x = each_step(x) if copied else x
        found.append(after(case.model, step(bound, x, case.y)))
        counts.append(flops(step(bound, x, case.y)))
    for once, each in zip(*found, strict=True):
        torch.testing.assert_close(once, each, rtol=1e-10, atol=1e-13)
    assert counts[0] < counts[1] or timesteps == 1


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_plain_forward(norm: str) -> None:
    found = []
    for copied in (False, True):
        case = problem(norm=norm)
        bound = ratebp.methods.get("bptt_m").bind(case.model, 3)
        x = ratebp.direct(case.x[0], 3)
        x = each_step(x) if copied else x
        found.append(after(case.model, lambda b=bound, x=x: b.plain(x)))  # type: ignore[misc]
    for once, each in zip(*found, strict=True):
        torch.testing.assert_close(once, each, rtol=1e-10, atol=1e-13)


class Front(nn.Module):
    """What stands between the input and the first neuron, and a readout."""

    def __init__(self, *front: nn.Module) -> None:
        super().__init__()
        self.front = nn.Sequential(*front)
        self.lif, self.head = ratebp.LIF(decay=0.5), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.lif(self.front(x)))
        return out


class Skipping(Front):
    """The input goes past the first neuron, too."""

    def forward(self, x: Tensor) -> Tensor:
        current = self.front(x)
        out: Tensor = self.head(self.lif(current) + current)
        return out


class Mixing(Front):
    """An operation nobody knows of makes each sample depend on the others."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.lif(self.front(x - x.std(0))))
        return out


class Again(Front):
    """The layer before the first neuron stands behind it, too."""

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.lif(self.front(x))
        out: Tensor = self.head(self.front(spikes[:, :5]))
        return out


FRONTS: dict[str, Callable[[], list[nn.Module]]] = {
    "linear": lambda: [nn.Linear(5, 6)],
    "norm": lambda: [nn.Linear(5, 6), nn.BatchNorm1d(6)],
    "no momentum": lambda: [nn.Linear(5, 6), nn.BatchNorm1d(6, momentum=None)],
    "no statistics": lambda: [nn.Linear(5, 6), nn.BatchNorm1d(6, track_running_stats=False)],
    "two": lambda: [nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6)],
    "dropout": lambda: [nn.Dropout(0.5), nn.Linear(5, 6)],
    "flatten": lambda: [nn.Unflatten(1, (5, 1)), nn.Flatten(), nn.Linear(5, 6)],
}


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("name", ["bptt_m", "rate_m"])
def test_whatever_stands_before_the_first_neuron(name: str, front: str, batch: int) -> None:
    """A batch of one sample has a variance over time steps alone, which is none."""
    found = []
    for copied in (False, True):
        torch.manual_seed(1)
        model = Front(*FRONTS[front]()).double()
        bound = ratebp.methods.get(name).bind(model, 3)
        x = ratebp.direct(3 * torch.randn(batch, 5, dtype=torch.float64), 3)
        x = each_step(x) if copied else x
        y = torch.arange(batch) % 3
        if (
            name == "rate_m"
            and batch == 1
            and any(isinstance(each, nn.BatchNorm1d) for each in model.modules())
        ):
            with pytest.raises(ratebp.OptionError, match="single value a channel"):
                step(bound, x, y)()  # its rate pass has one sample, whatever T is
            return
        steps = [after(model, step(bound, x, y)) for _ in range(2)]
        found.append([None if each is None else each.clone() for each in steps[-1]])
    for once, each in zip(*found, strict=True):
        torch.testing.assert_close(once, each, rtol=1e-10, atol=1e-13)


def test_what_runs_once() -> None:
    assert trace(problem(norm="batch").model).constant_input == {"stem", "norm0", "lif0"}
    assert trace(Front(nn.Linear(5, 6))).constant_input == {"front.0", "lif"}
    for other in (Skipping, Mixing, Again):
        assert trace(other(nn.Linear(5, 6))).constant_input == frozenset()
    resnet = trace(ratebp.models.build("resnet18", width=0.1))
    assert resnet.constant_input == {"stem.conv", "stem.norm", "stem.lif"}


def test_other_models_run_every_step() -> None:
    x, y = ratebp.direct(torch.randn(4, 5), 3), torch.arange(4) % 3
    net = Skipping(nn.Linear(5, 6))
    bound = ratebp.methods.get("bptt_m").bind(net, 3)
    alone = flops(step(bound, x, y))
    assert alone == flops(step(bound, each_step(x), y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("timesteps", [1, 2, 5])
def test_sums_over_steps(timesteps: int, dtype: torch.dtype) -> None:
    steps = torch.randn(timesteps, 3, 7).to(dtype)
    want = steps.double().sum(0)
    total = sum_of_steps(steps, torch.promote_types(dtype, torch.float32))
    torch.testing.assert_close(total.double(), want, rtol=1e-5, atol=1e-6)
    assert total.data_ptr() != steps.data_ptr()


def test_the_gradient_of_every_step_is_their_sum() -> None:
    one = torch.randn(1, 3, 7, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(4, 3, 7, dtype=torch.float64)
    (got,) = torch.autograd.grad(every_step(one, 4), one, upstream)
    torch.testing.assert_close(got, upstream.sum(0, keepdim=True))
    assert every_step(upstream, 4) is upstream
    assert torch.autograd.gradcheck(lambda x: every_step(x, 4), one)


@pytest.mark.parametrize("name", ratebp.methods.names())
def test_views_have_the_models_parameters_after_a_step(name: str) -> None:
    """Each under the names it has in the model's own tree, and no other in its place."""
    method = ratebp.methods.get(name)
    case = fitting(method, norm="batch")
    bound = method.bind(case.model, case.timesteps)
    x = ratebp.direct(case.x[0], case.timesteps)
    seeded_step(bound, x, case.y)
    own = {id(p) for p in case.model.parameters()}
    for view in bound.views(x).values():
        named = [(n, p) for n, p in view.module.named_parameters(remove_duplicate=False)]
        assert {id(p) for _, p in named} <= own
        assert len(named) == len({n for n, _ in named})
