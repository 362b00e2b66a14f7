"""What an importer reads from values: surrogates, whatever package they come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from ratebp.importers.surrogates import SCALING, fires, surrogate_of
from ratebp.surrogates import Surrogate, names


def function(shape: Callable[[Tensor], Tensor], strict: bool = False) -> Callable[[Tensor], Any]:
    """Return a spike function with the derivative `shape`."""

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return (x > 0 if strict else x >= 0).to(x)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return grads[0] * shape(ctx.saved_tensors[0])

    return Spike.apply


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("alpha", [0.37, 1.0, 2.0, 4.0, 25.0])
def test_every_surrogate_of_ours_is_found(name: str, alpha: float) -> None:
    ours = Surrogate(name, alpha)
    assert surrogate_of(function(ours.derivative)) == ours


@pytest.mark.parametrize("name", SCALING)
def test_a_scaling_surrogate_of_a_scaled_potential_is_that_of_another_alpha(name: str) -> None:
    x = torch.linspace(-2, 2, 101, dtype=torch.float64) + 1e-3
    tau = 1.7
    scaled = Surrogate(name, 2.0 / tau).derivative(tau * x) * tau
    torch.testing.assert_close(scaled, Surrogate(name, 2.0).derivative(x))


@pytest.mark.parametrize(
    "shape", [torch.ones_like, torch.zeros_like, lambda x: torch.exp(-x.abs()), lambda x: x]
)
def test_other_shapes_are_none_of_ours(shape: Callable[[Tensor], Tensor]) -> None:
    assert surrogate_of(function(shape)) is None


def test_a_function_without_a_graph_has_no_surrogate() -> None:
    assert surrogate_of(lambda x: (x.detach() > 0).to(x)) is None


def test_how_a_function_fires() -> None:
    assert fires(function(torch.ones_like)) == ">="
    assert fires(function(torch.ones_like, strict=True)) == ">"
    assert fires(torch.sigmoid) == ""
