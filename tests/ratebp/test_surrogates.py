"""Backward shapes: peaks and areas of the documented formulas, and their errors."""

import pytest
import torch

from ratebp.errors import OptionError
from ratebp.surrogates import Surrogate, names

PEAKS = {
    "sigmoid": lambda a: a / 4,
    "triangle": lambda a: a,
    "atan": lambda a: a / 2,
    "rectangle": lambda a: a,
    "fast_sigmoid": lambda a: 1.0,
}


def test_every_surrogate_has_a_documented_peak() -> None:
    assert set(PEAKS) == set(names())


@pytest.mark.parametrize("alpha", [0.7, 1.0, 4.0])
@pytest.mark.parametrize("name", sorted(PEAKS))
def test_peak_at_the_threshold_and_symmetry(name: str, alpha: float) -> None:
    x = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    h = Surrogate(name, alpha).derivative(x)
    assert float(h.max()) == pytest.approx(PEAKS[name](alpha), rel=1e-12)
    assert float(h[3000]) == float(h.max())
    torch.testing.assert_close(h, h.flip(0))
    assert (h >= 0).all()


@pytest.mark.parametrize(
    ("name", "area"),
    [("sigmoid", 1.0), ("triangle", 1.0), ("atan", 1.0), ("rectangle", 1.0), ("fast_sigmoid", 1.0)],
)
def test_area(name: str, area: float) -> None:
    alpha = 2.0  # 2/alpha, the area of fast_sigmoid, is 1 here as well
    # Midpoints of cells of width 1e-3, so that the rectangle's edges fall between two cells.
    x = (torch.arange(-4_000_000, 4_000_000, dtype=torch.float64) + 0.5) * 1e-3
    total = Surrogate(name, alpha).derivative(x).sum() * 1e-3
    assert float(total) == pytest.approx(area, abs=1e-3)


def test_a_point_of_each_shape_by_hand() -> None:
    x = torch.tensor([0.25], dtype=torch.float64)
    assert float(Surrogate("triangle", 2.0).derivative(x)) == pytest.approx(1.0)
    assert float(Surrogate("rectangle", 2.0).derivative(x)) == 0.0
    assert float(Surrogate("rectangle", 1.9).derivative(x)) == pytest.approx(1.9)
    assert float(Surrogate("fast_sigmoid", 4.0).derivative(x)) == pytest.approx(0.25)


def test_errors_name_the_legal_values() -> None:
    with pytest.raises(OptionError, match=r"'sigmoide'.*Did you mean 'sigmoid'.*triangle"):
        Surrogate("sigmoide")
    for alpha in (0, -1, float("inf"), float("nan"), "4"):
        with pytest.raises(OptionError, match="positive number"):
            Surrogate("sigmoid", alpha)  # type: ignore[arg-type]
