"""Which implementation an operator runs: torch's own operators, or the project's kernels.

The device decides: Triton kernels on a CUDA device where the package `triton` is installed, C++
kernels on a CPU where a C++ compiler is (`cpp`), torch's operators everywhere else. For
comparisons the choice can be forced, with `using` or, for a whole process, with the environment
variable ``RATEBP_OPS``.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Concatenate, Final, ParamSpec, TypeVar

import torch
from torch import Tensor

from ratebp.errors import OptionError
from ratebp.ops import cpp

BACKENDS = ("torch", "triton", "cpp")
VARIABLE = "RATEBP_OPS"

_OWN = {"cuda": "triton", "cpu": "cpp"}

_BITS = {"triton": "ratebp.ops.bits.triton", "cpp": "ratebp.ops.bits.cpp"}
_SCAN = {"triton": "ratebp.ops.lif.scan.triton", "cpp": "ratebp.ops.lif.scan.cpp"}
_SCAN_OF = {"triton": "ratebp.ops.lif.scan_of.triton", "cpp": "ratebp.ops.lif.scan_of.cpp"}
_RATE = {"triton": "ratebp.ops.lif.rate.triton", "cpp": "ratebp.ops.lif.rate.cpp"}
# A single step, and two passes over a mean, are bound by memory on a CPU: C++ took as long.
_STEP = {"triton": "ratebp.ops.lif.step.triton"}
_REPLAY = {"triton": "ratebp.ops.lif.rate.triton"}
# On a GPU, and compiled, torch's own batch norm is as fast.
_NORM = {"cpp": "ratebp.ops.batch_norm.cpp"}

KERNELS: Final[Mapping[str, Mapping[str, str]]] = {
    "affine": _NORM,
    "affine_": _NORM,
    "batch_norm": _NORM,
    "batch_norm_": _NORM,
    "batch_norm_backward": _NORM,
    "lif_recomputed_backward": _SCAN_OF,
    "lif_scan": _SCAN,
    "lif_scan_backward": _SCAN,
    "lif_spikes": _SCAN,
    "lif_spikes_of": _SCAN_OF,
    "lif_step": _STEP,
    "lif_step_backward": _STEP,
    "pack": _BITS,
    "rate_advance": _RATE,
    "rate_advance_rho": _RATE,
    "rate_scan": _RATE,
    "replay_rate_backward": _REPLAY,
    "unpack": _BITS,
}
"""Which module does the work of an operator, by backend."""

P = ParamSpec("P")
R = TypeVar("R")


def _legal(name: str | None, where: str) -> str | None:
    if name is None or name in BACKENDS:
        return name
    remedy = f"It came from {where}; leave it out to let the device decide."
    raise OptionError.unknown("operator backend", name, BACKENDS, remedy)


# Facts of the process, found once, so that a graph can be traced through what reads them.
_INSTALLED = importlib.util.find_spec("triton") is not None
_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
_forced = _legal(os.environ.get(VARIABLE) or None, f"the environment variable {VARIABLE}")


def missing(name: str, kind: str) -> str:
    """Return what keeps backend `name` from running on devices of `kind`; empty if nothing does."""
    if name == "torch":
        return ""
    if name == "cpp":
        return cpp.missing() if kind == "cpu" else "C++ kernels are a CPU's"
    if not _INSTALLED:
        return "the package triton is not installed (pip install 'ratebp[triton]')"
    if kind == "cuda":
        return "" if torch.cuda.is_available() else "there is no CUDA device on this machine"
    if kind == "cpu" and _INTERPRETED:
        return ""
    return f"on {kind} they need Triton's interpreter (TRITON_INTERPRET=1 from the start, slow)"


def backend(device: torch.device | str) -> str:
    """Return which implementation operators with kernels run on `device`: see `BACKENDS`.

    The first call for a CPU builds the C++ kernels, if no process of this machine has yet. Into a
    graph of torch.compile a CPU's operators go as torch's, which it fuses by itself.

    Raises:
        OptionError: if a backend is forced and cannot run there.
    """
    kind = device.split(":")[0] if isinstance(device, str) else device.type
    chosen = preferred(kind, compiled=torch.compiler.is_compiling())
    reason = missing(chosen, kind) if _forced is not None else ""
    if reason:
        raise OptionError(
            f"operator backend {chosen!r} cannot run on {kind}: {reason}. Legal there: torch, or "
            f"leave out {VARIABLE} and `using` to let the device decide."
        )
    return chosen


def preferred(kind: str, *, compiled: bool = False) -> str:
    """Return the backend that is asked for on devices of `kind`: forced, or else the device's own.

    What is forced may be `missing` there; a device's own is torch where its kernels are.

    Args:
        kind: the type of a device, such as "cpu".
        compiled: whether operators go into a graph of torch.compile.
    """
    chosen = _forced or _OWN.get(kind, "torch")
    if chosen == "cpp" and compiled:
        return "torch"
    return chosen if _forced or not missing(chosen, kind) else "torch"


def by_hand(x: Tensor) -> bool:
    """Are reductions that are written out pass by pass faster for `x` than torch's own?

    They are on a CPU; elsewhere, and compiled, torch's are. Meta tensors are counted as a CPU's.
    """
    return x.device.type in ("cpu", "meta") and not torch.compiler.is_compiling()


@contextmanager
def using(name: str) -> Iterator[None]:
    """Force the backend `name` inside the block, for comparisons; blocks may nest.

    Compile anew inside: a program compiled outside was compiled for the backend there.

    Raises:
        OptionError: for an unknown name.
    """
    global _forced
    before, _forced = _forced, _legal(name, "ratebp.ops.using")
    try:
        yield
    finally:
        _forced = before


def dispatched(
    operator: str,
    function: Callable[Concatenate[Tensor, P], R],
    fused: Callable[Concatenate[Tensor, P], R],
    *,
    check: Callable[Concatenate[Tensor, P], None] | None = None,
) -> Callable[Concatenate[Tensor, P], R]:
    """Return `function`, or `fused` where the first argument's device has kernels for it.

    Args:
        operator: of the table `KERNELS`, the one that `fused` runs.
        function: the implementation in torch's operators.
        fused: the implementation in operators that have kernels.
        check: refuses operands that do not fit together, whichever runs.
    """
    backends = KERNELS[operator]

    @functools.wraps(function)
    def run(first: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if check is not None:
            check(first, *args, **kwargs)
        chosen = fused if backend(first.device) in backends else function
        return chosen(first, *args, **kwargs)

    return run


def kernels(operator: str, operand: Tensor) -> ModuleType:
    """Return the module that does the work of an operator on an operand's device: see `KERNELS`.

    Where `using` has ended before a backward runs, the device decides: what was kept serves both.

    Args:
        operator: its name, without ``ratebp::``.
        operand: any tensor on the device.
    """
    served = KERNELS[operator]
    interpreted = _INTERPRETED and (_forced == "triton" or cpp.missing())
    own = "cpp" if operand.device.type == "cpu" and not interpreted else "triton"
    return importlib.import_module(served.get(own) or next(iter(served.values())))
