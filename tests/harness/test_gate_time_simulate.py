"""Simulated jobs: the rates that the protocol must have on any symmetric noise."""

from __future__ import annotations

import numpy as np
import pytest

from harness.gate.simulate import simulate


def noise(spread: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_t(4, 80) * spread


@pytest.mark.parametrize("spread", [0.005, 0.03, 0.1])
@pytest.mark.parametrize("families", [1, 4])
def test_equal_code_is_almost_never_called_slower(spread: float, families: int) -> None:
    rates = simulate(noise(spread), 0.0, families=families, jobs=250)
    assert rates.found + rates.false <= 0.01
    assert rates.void <= 0.01


def test_power_grows_with_the_change_and_shrinks_with_the_noise() -> None:
    found = [simulate(noise(0.03), slower, jobs=80).found for slower in (0.02, 0.1, 0.3)]
    assert found[0] < 0.05
    assert found[0] < found[1] <= found[2]
    assert found[2] == 1.0
    assert simulate(noise(0.3), 0.1, jobs=80).found < found[1]


def test_an_effect_on_one_family_does_not_taint_the_others() -> None:
    rates = simulate(noise(0.02), 0.5, families=6, jobs=80)
    assert rates.found == 1.0
    assert rates.false == 0.0


def test_the_same_seed_gives_the_same_rates() -> None:
    assert simulate(noise(0.05), 0.1, jobs=40) == simulate(noise(0.05), 0.1, jobs=40)


def test_a_handful_of_pairs_is_no_record_of_a_machine() -> None:
    with pytest.raises(ValueError, match="15 recorded pairs are too few; give at least 16"):
        simulate(np.zeros(15), 0.0)
