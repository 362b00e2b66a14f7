"""The Triton kernels in Triton's interpreter and the C++ ones, each in a process of their own."""

from __future__ import annotations

import pytest

from ratebp.ops import cpp
from tests.ratebp.kernels.common import CHECKS, HERE, INSTALLED, MISSING, run, run_checks


def test_there_are_checks() -> None:
    assert len(CHECKS) >= 5


@pytest.mark.deep
@pytest.mark.skipif(not INSTALLED, reason=MISSING)
def test_in_the_interpreter() -> None:
    run_checks(TRITON_INTERPRET="1", OMP_NUM_THREADS="1")


@pytest.mark.deep
@pytest.mark.skipif(bool(cpp.missing()), reason=cpp.missing())
def test_in_cpp() -> None:
    run_checks(RATEBP_OPS="cpp")


@pytest.mark.deep
@pytest.mark.skipif(bool(cpp.missing()), reason="the other tests run on torch's operators here")
def test_golden_gradients_and_identities_on_torchs_operators() -> None:
    """Elsewhere they run on the C++ kernels, where there is a compiler."""
    beside = HERE.parent
    run([str(beside / "test_golden.py"), str(beside / "test_identities.py")], RATEBP_OPS="torch")
