"""What the Triton kernels share: the LIF equation on the device, and the launch.

Importing this module imports triton. Kernels take the constants of a layer as compile-time
constants: they are few, and in float64 they keep all their digits. Products and sums are not fused
(``enable_fp_fusion=False``), so that a potential is computed with the rounding of the readable
version and recomputed to the same bit.
"""

# No postponed annotations: triton reads `tl.constexpr` from them.
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_LARGE = 1 << 17  # neurons; below, smaller blocks keep more of the device busy


@triton.jit
def level(like, VALUE: tl.constexpr):
    """VALUE in the type of `like`, to compare with: triton would make it a float32."""
    return tl.full(like.shape, VALUE, like.dtype)


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
        h = ALPHA * (tl.abs(x) < level(x, 1 / (2 * ALPHA))).to(x.dtype)
    else:
        tl.static_assert(SURROGATE == "fast_sigmoid")
        y = ALPHA * tl.abs(x) + 1
        h = 1 / (y * y)
    return h


@triton.jit
def carry(u, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr):
    """What is left of the potential `u` after its spike and one leak (`Dynamics.carry`)."""
    left = u * 0.0 if RESET == "hard" else u - THRESHOLD  # NaN of an infinite u, as in C++
    return tl.where(u >= level(u, THRESHOLD), left, u) * DECAY


@triton.jit
def carry_grad(
    u, h, DECAY: tl.constexpr, THRESHOLD: tl.constexpr, RESET: tl.constexpr, DETACH: tl.constexpr
):
    """Temporal Jacobian d u[t+1] / d u[t] (`Dynamics.carry_grad`)."""
    if RESET == "hard":
        silent = (u < level(u, THRESHOLD)).to(u.dtype)
        jacobian = DECAY * silent if DETACH else DECAY * (silent - u * h)
    else:
        jacobian = tl.full(u.shape, DECAY, u.dtype) if DETACH else DECAY * (1 - THRESHOLD * h)
    return jacobian


@triton.jit
def cast(s, TYPE: tl.constexpr):
    """Spikes in another type, by way of a float: the interpreter makes no bfloat16 of integers."""
    return s.to(tl.float32).to(TYPE)


def type_of(dtype: torch.dtype) -> Any:
    """Return triton's type for the wide type `dtype`."""
    return tl.float64 if dtype == torch.float64 else tl.float32


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
