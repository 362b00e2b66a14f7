"""Which implementation runs where, and how to force one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ratebp.errors import OptionError
from ratebp.ops import BACKENDS, backend, cpp, lif_scan, using
from ratebp.ops.backends import VARIABLE
from tests.ratebp.kernels.common import INSTALLED, MISSING

QUIET = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=QUIET | environment, capture_output=True, text=True
    )


@pytest.mark.skipif(bool(cpp.missing()), reason=cpp.missing())
def test_a_cpu_runs_cpp() -> None:
    assert backend("cpu") == backend(torch.device("cpu")) == "cpp"


def test_meta_tensors_run_torch() -> None:
    assert backend("meta") == "torch"


def test_a_cpu_without_a_compiler_runs_torch() -> None:
    code = """
import ratebp.ops, torch
from ratebp.dynamics import Dynamics
print(ratebp.ops.backend("cpu"), ratebp.ops.lif_scan(torch.ones(2, 3), Dynamics()).sum().item())
with ratebp.ops.using("cpp"):
    ratebp.ops.lif_scan(torch.ones(2, 3), Dynamics())
"""
    done = python(code, CXX="no-such-compiler")
    assert done.stdout.split() == ["torch", "6.0"], done.stderr
    assert "'cpp' cannot run on cpu: there is no C++ compiler (install g++" in done.stderr


def test_a_compiler_that_fails_is_told_once(tmp_path: Path) -> None:
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'no room for vectors' >&2\nexit 1\n")
    broken.chmod(0o755)
    code = """
import ratebp.ops
print(ratebp.ops.backend("cpu"), ratebp.ops.backend("cpu"))
"""
    done = python(code, CXX=str(broken), XDG_CACHE_HOME=str(tmp_path))
    assert done.stdout.split() == ["torch", "torch"], done.stderr
    assert done.stderr.count("no room for vectors. Torch's operators run.") == 1
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.deep
@pytest.mark.skipif(bool(cpp.missing()), reason=cpp.missing())
def test_kernels_are_built_once_for_a_machine(tmp_path: Path) -> None:
    code = "import ratebp.ops; print(ratebp.ops.backend('cpu'))"
    settings = {"XDG_CACHE_HOME": str(tmp_path)}
    assert python(code, **settings).stdout.split() == ["cpp"]
    (library,) = tmp_path.rglob("*.so")
    before = library.stat()
    assert python(code, **settings).stdout.split() == ["cpp"]
    assert list(tmp_path.rglob("*.so")) == [library]
    assert library.stat().st_mtime_ns == before.st_mtime_ns


def test_forced_to_torch_and_back() -> None:
    with using("torch"):
        assert backend("cuda:1") == "torch"
        with pytest.raises(ZeroDivisionError), using("torch"):
            raise ZeroDivisionError
        assert backend("cuda") == "torch"


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(OptionError, match="Legal: cpp, torch, triton"), using("cuda"):
        pass
    done = python("import ratebp", **{VARIABLE: "tritn"})
    assert done.returncode == 1
    assert f"Did you mean 'triton'? Legal: {', '.join(sorted(BACKENDS))}." in done.stderr
    assert VARIABLE in done.stderr


def test_triton_cannot_be_forced_where_it_cannot_run() -> None:
    code = (
        "import torch; from ratebp.dynamics import Dynamics; from ratebp.ops import lif_scan; "
        "lif_scan(torch.ones(2, 3), Dynamics())"
    )
    done = python(code, **{VARIABLE: "triton"})
    assert done.returncode == 1
    assert "operator backend 'triton' cannot run on cpu: " in done.stderr
    assert "Legal there: torch" in done.stderr


def test_nothing_needs_triton() -> None:
    """Where the package is missing, or just not asked for, everything runs on torch."""
    code = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "triton" else find(name, *rest)
sys.modules["triton"] = None
import torch, ratebp.ops
from ratebp.dynamics import Dynamics
torch.cuda.is_available = lambda: True
print(ratebp.ops.backend("cuda"), ratebp.ops.lif_scan(torch.ones(2, 3), Dynamics()).sum().item())
"""
    done = python(code)
    assert done.stdout.split() == ["torch", "6.0"], done.stderr


@pytest.mark.skipif(not INSTALLED, reason=MISSING)
def test_a_cuda_device_runs_triton_and_the_import_waits() -> None:
    code = """
import sys, torch, ratebp, ratebp.ops
assert "triton" not in sys.modules
torch.cuda.is_available = lambda: True
print(ratebp.ops.backend("cuda"), ratebp.ops.backend("cuda:1"), ratebp.ops.backend("cpu"))
"""
    done = python(code)
    own = "torch" if cpp.missing() else "cpp"
    assert done.stdout.split() == ["triton", "triton", own], done.stderr


def test_what_is_dispatched_keeps_its_name_and_docstring() -> None:
    assert lif_scan.__name__ == "lif_scan"
    assert "[T, B, ...]" in (lif_scan.__doc__ or "")
