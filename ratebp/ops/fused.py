"""What operators of one pass over memory share: their registration, constants and strides.

Each is one operator of torch with a fake rule, in the modules `fused`. Kernels do its work: in
Triton, in the modules `triton`, and in C++, in the modules `cpp` with their sources beside them.

An operator takes a layer's constants as one string, so that a graph of operators can be read.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, library

from ratebp.dynamics import Dynamics
from ratebp.errors import OptionError
from ratebp.surrogates import Surrogate

SURROGATES = ("sigmoid", "triangle", "atan", "rectangle", "fast_sigmoid")
"""The surrogates whose derivative the kernels know."""

RESETS = ("detached", "attached")
"""Whether the reset is a constant in the backward, as `equation_of` says it."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def operator(name: str, mutates: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Any]:
    """Return what makes a function the operator ``ratebp::name``.

    Its tag tells a counter of operators that every argument is read once and every result written
    once.

    Args:
        name: of the operator.
        mutates: the arguments that it changes in place.
    """
    return library.custom_op(f"ratebp::{name}", mutates_args=mutates, tags=(torch.Tag.pointwise,))


def equation_of(dynamics: Dynamics) -> str:
    """Return the constants of a layer as one string, every digit kept."""
    reset = RESETS[0] if dynamics.detach_reset else RESETS[1]
    surrogate = dynamics.surrogate
    return (
        f"{float(dynamics.decay)!r} {float(dynamics.threshold)!r} {dynamics.reset} {reset} "
        f"{surrogate.name} {float(surrogate.alpha)!r}"
    )


@functools.cache
def dynamics_of(equation: str) -> Dynamics:
    """Return the layer whose constants `equation_of` wrote.

    Raises:
        OptionError: if they are no LIF's.
    """
    try:
        decay, threshold, reset, detach, surrogate, alpha = equation.split()
        numbers = float(decay), float(threshold), float(alpha)
    except ValueError as error:
        legal = "decay, threshold, soft or hard, detached or attached, surrogate, alpha"
        raise OptionError(f"{equation!r} is no LIF equation. Legal: {legal}.") from error
    if detach not in RESETS:
        raise OptionError.unknown("reset's gradient", detach, RESETS)
    made = Surrogate(surrogate, numbers[2])
    return Dynamics(numbers[0], numbers[1], reset, detach == RESETS[0], made)


@functools.cache
def constants(equation: str, *wanted: str) -> dict[str, Any]:
    """Return the constants `wanted` by a kernel, from `equation_of`."""
    layer = dynamics_of(equation)
    known = {
        "DECAY": float(layer.decay),
        "THRESHOLD": float(layer.threshold),
        "RESET": layer.reset,
        "DETACH": layer.detach_reset,
        "SURROGATE": layer.surrogate.name,
        "ALPHA": float(layer.surrogate.alpha),
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
        f"ratebp.ops.{operator}: no kernel for {reason}; torch's operators run instead.",
        RuntimeWarning,
        stacklevel=3,
    )
    return False


def wide_of(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which potentials integrate."""
    return torch.promote_types(dtype, torch.float32)


def bytes_of(x: Tensor) -> Tensor:
    """Return booleans as the bytes that they are, everything else as it is."""
    return x.view(torch.uint8) if x.dtype == torch.bool else x


def is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Return whether elements of these strides fill a stretch of memory, in any order."""
    if 0 in shape:
        return True
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
    return empty_dense(x, first, x.dtype, wanted).copy_(x)


def empty_dense(
    like: Tensor, first: int, dtype: torch.dtype, strides: tuple[int, ...] | None = None
) -> Tensor:
    """Return new memory in the shape of `like`, dense from dimension `first` (0 or 1) on.

    Its strides from there on are those of `like`, or `strides` where they are given.
    """
    inner = (strides or like.stride())[first:]
    outer = (like.shape[first:].numel(),) if first else ()
    return torch.empty_strided(like.shape, (*outer, *inner), dtype=dtype, device=like.device)
