"""The C++ kernels under the address and the undefined-behaviour sanitizer: `tox -e sanitize`.

The kernels are built once more, with checks of every read and write, and the checks of
`tests/ratebp/kernels` run on them in a process that the first bad one ends.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ratebp.ops import cpp, library
from tests.ratebp.kernels.common import run_checks

FLAGS = (
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
    "-g1",
)
# Python itself is not built with them, so they come first; torch throws C++ exceptions.
PRELOADED = ("libasan.so", "libubsan.so", "libstdc++.so.6")

OUT_OF_RANGE = """
import torch
from ratebp.ops import cpp
cpp._reach = lambda x: 1 << 40  # as if the memory were there
x = torch.ones(8)
cpp.call({call})
"""


def found(name: str) -> str:
    """Return the path of one of the compiler's libraries; empty if it has none."""
    command = [*library.compiler(), f"-print-file-name={name}"]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return path if Path(path).is_file() else ""


def lacking() -> str:
    """Return what is missing to run the kernels under the sanitizers."""
    if cpp.missing():
        return cpp.missing()
    absent = [name for name in PRELOADED if not found(name)]
    return (
        f"{library.compiler()[0]} has no {', '.join(absent)} (gcc's are needed)" if absent else ""
    )


LACKING = lacking()
pytestmark = pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is missing")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return the settings of a process whose kernels are watched."""
    return {
        "RATEBP_OPS": "cpp",
        "CXX": shlex.join([*library.compiler(), *FLAGS]),
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("kernels")),
        "LD_PRELOAD": " ".join(map(found, PRELOADED)),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps memory until it ends
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "OMP_NUM_THREADS": "2",
    }


@pytest.mark.parametrize(
    "call",
    ["'affine', x, None, None, torch.empty(8), 3, 1, 3",
     "'pack', x, torch.empty(1, dtype=torch.uint8), 16, 2",
     "'lif_scan', '0.5 1.0 soft detached sigmoid 4.0', x, 4, torch.empty(12), None, 3, 4"],
    ids=["affine", "pack", "lif_scan"],
)  # fmt: skip
def test_the_watch_sees_a_step_too_far(call: str, watched: Mapping[str, str]) -> None:
    """Where the kernels' own checks are deceived, the sanitizer ends the process."""
    code = [sys.executable, "-c", OUT_OF_RANGE.format(call=call)]
    done = subprocess.run(code, env=os.environ | watched, capture_output=True, text=True)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr, done.stderr[-2000:]


def test_all_checks_of_the_kernels(watched: Mapping[str, str]) -> None:
    """Every shape, layout and type of the kernels' checks, and what they refuse."""
    run_checks(**watched)
