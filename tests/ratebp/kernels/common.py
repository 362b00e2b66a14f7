"""What the checks of the kernels share.

The files `check_*.py` beside this one run in a process of their own, as triton reads
``TRITON_INTERPRET`` when it is imported: `tests/ratebp/test_kernels.py` runs them in Triton's
interpreter and, with ``RATEBP_OPS=cpp``, on the C++ kernels; `tests/gpu/test_kernels.py` on the
device.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.utils.deterministic
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import using
from ratebp.surrogates import Surrogate

HERE = Path(__file__).parent
CHECKS = sorted(HERE.glob("check_*.py"))
INSTALLED = importlib.util.find_spec("triton") is not None
MISSING = "triton is not installed (pip install 'ratebp[triton]', Linux on x86-64)"

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
BACKEND = os.environ.get("RATEBP_OPS", "triton")
DEVICE = "cpu" if INTERPRETED or BACKEND == "cpp" else "cuda"

PASSED = ("TRITON_INTERPRET", "RATEBP_OPS")  # settings of the checks, not of who runs them
RESETS = list(itertools.product(("soft", "hard"), (True, False)))
# The device's own exponential and division are good to a few units of the last place.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6 if DEVICE == "cpu" else 1e-5}
# Nearest even rounds by half a unit of the last place; the interpreter cuts off, by up to one.
HALVES = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}
SLACK = 2 if INTERPRETED else 1


def run_checks(**environment: str) -> None:
    """Run all checks in a process of their own, and fail with what it printed."""
    left_out = (
        {"check_lif_step.py"} if environment.get("RATEBP_OPS") == "cpp" else {"check_norm.py"}
    )
    checks = [str(each) for each in CHECKS if each.name not in left_out]  # by what has kernels
    run(checks, **environment)


def run(files: list[str], **environment: str) -> None:
    """Run test files in a process of their own, and fail with what it printed."""
    command = [sys.executable, "-m", "pytest", *files, "-p", "no:cacheprovider"]
    inherited = {key: value for key, value in os.environ.items() if key not in PASSED}
    done = subprocess.run(
        command,
        cwd=HERE.parents[2],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


@pytest.fixture(autouse=True)
def poisoned_memory() -> Iterator[None]:
    """Fill every uninitialised tensor with NaN, so that an unwritten output cannot pass."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.empty(3, device=DEVICE).isnan().all()
    torch.manual_seed(0)
    yield
    torch.use_deterministic_algorithms(False)


def dynamics_of(reset: str, detach: bool, surrogate: str = "sigmoid") -> Dynamics:
    return Dynamics(0.7, 0.8, reset, detach, Surrogate(surrogate, 1.3))


def currents(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return currents that make about a third of the neurons fire."""
    return (2 * torch.randn(shape, dtype=torch.float64)).to(DEVICE, dtype)


def result(name: str, f: Callable[..., Any], *inputs: Tensor) -> list[Tensor]:
    """Return the values that `f` returns on the backend `name`, and every gradient."""
    with using(name):
        leaves = [x.detach().clone().requires_grad_() for x in inputs]
        out = f(*leaves)
        outs = [out] if isinstance(out, Tensor) else list(out)
        total = sum(
            ((o * weights_like(o, k)).sum() for k, o in enumerate(outs) if o.requires_grad),
            torch.zeros((), device=DEVICE),
        )
        grads = torch.autograd.grad(total, leaves)
    return [*(o.detach() for o in outs), *grads]


def weights_like(x: Tensor, seed: int) -> Tensor:
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return weights.to(x.device, x.dtype)


def assert_same(got: list[Tensor], want: list[Tensor], tolerance: float) -> None:
    for a, b in zip(got, want, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def both_equal(f: Callable[..., Any], *inputs: Tensor, tolerance: float | None = None) -> None:
    """Check that `f` gives the same values and gradients by the kernels as on torch."""
    if tolerance is None:
        tolerance = TOLERANCE[inputs[0].dtype]
    assert_same(result(BACKEND, f, *inputs), result("torch", f, *inputs), tolerance)


def assert_rounded(got: Tensor, exact: Tensor) -> None:
    """Check that `got` is `exact` (of a wider type), rounded once."""
    step = SLACK * HALVES[got.dtype]
    torch.testing.assert_close(got.to(exact.dtype), exact, rtol=1.01 * step, atol=1e-7)
