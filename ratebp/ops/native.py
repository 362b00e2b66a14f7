"""The C++ kernels of a CPU: built once a machine by its own compiler, and called.

The sources stand beside this file and in the operators' folders. The library that they make is
kept in the user's cache folder under a name that tells sources, compiler, flags and processor, so
that a home folder may be shared by unlike machines. Where there is no compiler, torch's own
operators run instead.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ratebp.ops.fused import SURROGATES

_HERE = Path(__file__).parent
_FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fopenmp",
    "-ffp-contract=off",  # a potential has the rounding of the readable version
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
)
_SECONDS = 300

TYPES = {
    torch.float32: 0,
    torch.float64: 1,
    torch.bfloat16: 2,
    torch.float16: 3,
    torch.uint8: 4,
    torch.bool: 4,
}
"""The types of elements that the kernels read and write, by the numbers of native.h."""


class _Memory(ctypes.Structure):
    """`Memory` of native.h."""

    _fields_ = (("data", ctypes.c_void_p), ("type", ctypes.c_int64))


class _Constants(ctypes.Structure):
    """`Constants` of native.h."""

    _fields_ = (
        ("decay", ctypes.c_double),
        ("threshold", ctypes.c_double),
        ("alpha", ctypes.c_double),
        ("hard", ctypes.c_int64),
        ("detached", ctypes.c_int64),
        ("surrogate", ctypes.c_int64),
    )


@functools.cache
def missing() -> str:
    """Return what keeps the kernels from running on this machine; empty if nothing does.

    The first call builds them, in a few seconds, where no process has yet. If a compiler is there
    and fails, it warns with what the compiler said.
    """
    compiler = _compiler()
    if compiler is None:
        return "there is no C++ compiler (install g++ or clang, or name one in CXX)"
    try:
        _library(compiler)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        reason = f"{compiler} cannot build them: {said[-1] if said else error}"
        warnings.warn(f"C++ kernels: {reason}. Torch's operators run.", RuntimeWarning, 2)
        return reason
    return ""


def call(name: str, *args: Tensor | str | float | None) -> None:
    """Run the kernel ``ratebp_<name>``.

    Args:
        name: of the kernel.
        args: its arguments but the last, which is the number of threads: tensors (None for a
            missing one), a layer's constants as the string of `equation_of`, numbers.
    """
    compiler = _compiler()
    assert compiler is not None
    threads = ctypes.c_int64(torch.get_num_threads())
    getattr(_library(compiler), f"ratebp_{name}")(*map(_passed, args), threads)


def _passed(value: Any) -> Any:
    if value is None:
        return _Memory(None, 0)
    if isinstance(value, Tensor):
        return _Memory(value.data_ptr(), TYPES[value.dtype])
    if isinstance(value, str):
        return _constants(value)
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value)


@functools.cache
def _constants(equation: str) -> _Constants:
    decay, threshold, reset, detach, surrogate, alpha = equation.split()
    return _Constants(
        float(decay),
        float(threshold),
        float(alpha),
        reset == "hard",
        detach == "detached",
        SURROGATES.index(surrogate),  # the order of native.h
    )


def _compiler() -> str | None:
    return _found(os.environ.get("CXX"))


@functools.cache
def _found(named: str | None) -> str | None:
    candidates = (named,) if named else ("c++", "g++", "clang++")
    return next(filter(None, map(shutil.which, candidates)), None)


@functools.cache
def _library(compiler: str) -> ctypes.CDLL:
    sources = sorted(_HERE.rglob("*.cpp"))
    path = _cache() / _key(compiler, [*sources, *_HERE.glob("*.h")]) / "kernels.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _build(compiler, sources, path)
    return ctypes.CDLL(str(path))


def _build(compiler: str, sources: list[Path], path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        out = Path(folder) / path.name
        command = [compiler, *_FLAGS, f"-I{_HERE}", *map(str, sources), "-o", str(out)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS)
        out.replace(path)  # at once, as another process may build the same


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "ratebp"


def _key(compiler: str, files: list[Path]) -> str:
    binary = Path(compiler).resolve()
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes())
    known = (str(binary), binary.stat().st_mtime_ns, _FLAGS, platform.machine(), _processor())
    found.update(repr(known).encode())
    return found.hexdigest()[:24]


def _processor() -> str:
    """Return what this processor can do, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((each for each in lines if each.startswith(("flags", "Features"))), "")
