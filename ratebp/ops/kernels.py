"""What the Triton kernels share: the LIF equation on the device, memory layouts, the launch.

Importing this module imports triton. Kernels take the constants of a layer as compile-time
constants: they are few, and in float64 they keep all their digits. Products and sums are not fused
(``enable_fp_fusion=False``), so that a potential is computed with the rounding of the readable
version and recomputed to the same bit.

An operator takes a layer's constants as one string, so that a graph of operators can be read.
"""

# No postponed annotations: triton reads `tl.constexpr` from them.
import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, library

from ratebp.dynamics import Dynamics

SURROGATES = ("sigmoid", "triangle", "atan", "rectangle", "fast_sigmoid")
"""The surrogates whose derivative the kernels know."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

_LARGE = 1 << 17  # neurons; below, smaller blocks keep more of the device busy


def operator(name: str, mutates: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Any]:
    """Return what makes a function the operator ``ratebp::name``.

    Its tag tells a counter of operators that every argument is read once and every result written
    once.

    Args:
        name: of the operator.
        mutates: the arguments that it changes in place.
    """
    return library.custom_op(f"ratebp::{name}", mutates_args=mutates, tags=(torch.Tag.pointwise,))


@triton.jit
def derivative(x, SURROGATE: tl.constexpr, ALPHA: tl.constexpr):
    """h'(x), as in `ratebp.surrogates`."""
    if SURROGATE == "sigmoid":
        sig = tl.sigmoid(ALPHA * x)
        h = ALPHA * sig * (1 - sig)
    elif SURROGATE == "triangle":
        h = ALPHA - ALPHA * ALPHA * tl.abs(x)
        h = tl.where(h < 0, 0.0, h)
    elif SURROGATE == "atan":
        y = (1.5707963267948966 * ALPHA) * x
        h = (ALPHA / 2) / (1 + y * y)
    elif SURROGATE == "rectangle":
        h = ALPHA * (tl.abs(x) < 1 / (2 * ALPHA)).to(x.dtype)
    else:
        tl.static_assert(SURROGATE == "fast_sigmoid")
        y = ALPHA * tl.abs(x) + 1
        h = 1 / (y * y)
    return h


@triton.jit
def carry(u, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr):
    """What is left of the potential `u` after its spike and one leak (`Dynamics.carry`)."""
    left = 0.0 if RESET == "hard" else u - THRESHOLD
    return tl.where(u >= THRESHOLD, left, u) * DECAY


@triton.jit
def carry_grad(
    u, h, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr, DETACH: tl.constexpr
):
    """Temporal Jacobian d u[t+1] / d u[t] (`Dynamics.carry_grad`)."""
    if RESET == "hard":
        silent = (u < THRESHOLD).to(u.dtype)
        jacobian = DECAY * silent if DETACH else DECAY * (silent - u * h)
    else:
        jacobian = tl.full(u.shape, DECAY, u.dtype) if DETACH else DECAY * (1 - THRESHOLD * h)
    return jacobian


@triton.jit
def cast(s, TYPE: tl.constexpr):
    """Spikes in another type, by way of a float: the interpreter makes no bfloat16 of integers."""
    return s.to(tl.float32).to(TYPE)


def equation_of(dynamics: Dynamics) -> str:
    """Return the constants of a layer as one string, every digit kept."""
    reset = "detached" if dynamics.detach_reset else "attached"
    surrogate = dynamics.surrogate
    return (
        f"{float(dynamics.decay)!r} {float(dynamics.threshold)!r} {dynamics.reset} {reset} "
        f"{surrogate.name} {float(surrogate.alpha)!r}"
    )


@functools.cache
def constants(equation: str, *wanted: str) -> dict[str, Any]:
    """Return the compile-time constants `wanted` by a kernel, from `equation_of`."""
    decay, threshold, reset, detach, surrogate, alpha = equation.split()
    known = {
        "DECAY": float(decay),
        "THRESHOLD": float(threshold),
        "RESET": reset,
        "DETACH": detach == "detached",
        "SURROGATE": surrogate,
        "ALPHA": float(alpha),
    }
    return {name: known[name] for name in wanted or known}


FORWARD = ("DECAY", "THRESHOLD", "RESET")
"""What a kernel without a surrogate needs of `constants`."""


def serves(operator: str, current: Tensor, dynamics: Dynamics) -> bool:
    """Return whether the kernels cover this call; where they do not, warn which and why."""
    if current.dtype not in FLOATS:
        reason = f"currents of {current.dtype}"
    elif dynamics.surrogate.name not in SURROGATES:
        reason = f"the surrogate {dynamics.surrogate.name!r}"
    else:
        return True
    warnings.warn(
        f"ratebp.ops.{operator}: no Triton kernel for {reason}; torch's operators run instead.",
        RuntimeWarning,
        stacklevel=3,
    )
    return False


def wide_of(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which potentials integrate."""
    return torch.promote_types(dtype, torch.float32)


def type_of(dtype: torch.dtype) -> Any:
    """Return triton's type for the wide type `dtype`."""
    return tl.float64 if dtype == torch.float64 else tl.float32


def bytes_of(x: Tensor) -> Tensor:
    """Return booleans as the bytes that they are, everything else as it is."""
    return x.view(torch.uint8) if x.dtype == torch.bool else x


def is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Return whether elements of these strides fill a stretch of memory, in any order."""
    expected = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size != 1:
            if stride != expected:
                return False
            expected *= size
    return True


def dense(x: Tensor, first: int) -> Tensor:
    """Return `x`, copied if the dimensions from `first` on do not fill a stretch of memory."""
    return x if is_dense(x.shape[first:], x.stride()[first:]) else x.contiguous()


def laid_out(x: Tensor, strides: tuple[int, ...], first: int) -> Tensor:
    """Return `x`, copied if from dimension `first` on its strides are not the last of `strides`."""
    wanted = strides[len(strides) - x.dim() :]
    if all(x.stride(d) == wanted[d] for d in range(first, x.dim()) if x.shape[d] != 1):
        return x
    return beside(x, first, x.dtype, wanted).copy_(x)


def beside(
    like: Tensor, first: int, dtype: torch.dtype, strides: tuple[int, ...] | None = None
) -> Tensor:
    """Return new memory in the shape of `like`, dense from dimension `first` (0 or 1) on.

    Its layout there is that of `like`, or of `strides` where they are given.
    """
    inner = (strides or like.stride())[first:]
    outer = (like.shape[first:].numel(),) if first else ()
    return torch.empty_strided(like.shape, (*outer, *inner), dtype=dtype, device=like.device)


def launch(kernel: Any, number: int, device: Tensor, *args: Any, **values: Any) -> None:
    """Run `kernel` with one lane for each of `number` neurons, on the device of a tensor.

    Args:
        kernel: takes `args`, then `number`, then `values` and BLOCK.
        number: lanes.
        device: any of the operands.
        args: positional operands.
        values: compile-time constants.
    """
    if number == 0:
        return
    block = 1024 if number >= _LARGE else 256
    with torch.cuda.device_of(device):
        kernel[(triton.cdiv(number, block),)](
            *args, number, **values, BLOCK=block, num_warps=4, enable_fp_fusion=False
        )
