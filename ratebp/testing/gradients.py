"""The gradients of one step, and where two sets of them differ."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ratebp import methods
from ratebp.method import Method
from ratebp.testing.problems import Problem, seeded_step


def gradients(method: Method, case: Problem, **bind: Any) -> dict[str, Tensor]:
    """Return every parameter's gradient after one step from zero, by name."""
    case.model.zero_grad()
    seeded_step(method.bind(case.model, case.timesteps, **bind), case.x, case.y)
    missing = [n for n, p in case.model.named_parameters() if p.grad is None]
    assert not missing, f"no gradient reached {missing}"
    return {n: p.grad.clone() for n, p in case.model.named_parameters() if p.grad is not None}


def gradients_of(name: str, model: nn.Module, x: Tensor, y: Tensor, **options: Any) -> list[Tensor]:
    """Return the gradients of `model`'s parameters, in their order, by the method `name`."""
    case = Problem(model, x, y)
    return list(gradients(methods.get(name, **options), case).values())


def differences(got: dict[str, Tensor], want: dict[str, Tensor], rtol: float) -> dict[str, float]:
    """Return the relative error of every tensor that differs by more than `rtol`, by name."""
    assert got.keys() == want.keys()
    errors = {n: float((got[n] - want[n]).norm() / want[n].norm()) for n in want}
    return {n: e for n, e in errors.items() if not e <= rtol}
