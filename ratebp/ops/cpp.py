"""The C++ kernels of a CPU, called; `library` builds them. Where it cannot, torch's operators run.

Every call passes through `call`, which tells a kernel how many elements lie behind each pointer.
The kernel refuses, before it touches any memory, what does not fit.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import torch
from torch import Tensor

from ratebp.errors import OperandError
from ratebp.ops import library
from ratebp.ops.fused import SURROGATES, dynamics_of

TYPES = {
    torch.float32: 0,
    torch.float64: 1,
    torch.bfloat16: 2,
    torch.float16: 3,
    torch.uint8: 4,
    torch.bool: 4,
}
"""The types of elements that the kernels read and write, by the numbers of kernels.h."""

missing = library.missing


class _MemoryStruct(ctypes.Structure):
    """`Memory` of kernels.h."""

    _fields_ = (("data", ctypes.c_void_p), ("type", ctypes.c_int64), ("size", ctypes.c_int64))


class _ConstantsStruct(ctypes.Structure):
    """`Constants` of kernels.h."""

    _fields_ = (
        ("decay", ctypes.c_double),
        ("threshold", ctypes.c_double),
        ("alpha", ctypes.c_double),
        ("hard", ctypes.c_int64),
        ("detached", ctypes.c_int64),
        ("surrogate", ctypes.c_int64),
    )


def call(name: str, *args: Tensor | str | float | None) -> None:
    """Run the kernel ``ratebp_<name>``.

    Args:
        name: of the kernel.
        args: its arguments but the last, which is the number of threads: tensors (None for a
            missing one), a layer's constants as the string of `equation_of`, numbers.

    Raises:
        OperandError: if a tensor is of a type or a device that kernels do not read, or if they do
            not fit together: then no memory was touched.
    """
    threads = ctypes.c_int64(torch.get_num_threads())
    needs = _kernel(library.compiler(), name)(*map(_passed, args), threads)
    if needs is not None:
        given = ", ".join(_said(each) for each in args)
        raise OperandError(
            f"the C++ kernel {name} needs `{needs.decode()}` and was given ({given}). Call the "
            "operators of ratebp.ops, which arrange what they are given."
        )


@functools.cache
def _kernel(command: tuple[str, ...], name: str) -> Any:
    found = getattr(library.load(command), f"ratebp_{name}")
    found.restype = ctypes.c_char_p
    return found


def _said(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{list(value.shape)} {value.dtype}, strides {list(value.stride())}"
    return repr(value)


def _passed(value: Any) -> Any:
    if value is None:
        return _MemoryStruct(None, 0, 0)
    if isinstance(value, Tensor):
        known = TYPES.get(value.dtype) if value.is_cpu else None
        if known is None:
            types = ", ".join(map(str, TYPES))
            raise OperandError(
                f"no C++ kernel reads {value.dtype} on {value.device}. Legal: {types}, on a CPU."
            )
        return _MemoryStruct(value.data_ptr(), known, _reach(value))
    if isinstance(value, str):
        return _constants(value)
    return ctypes.c_double(value) if isinstance(value, float) else ctypes.c_int64(value)


def _reach(x: Tensor) -> int:
    """Return how many elements lie from the first of `x` to its last, as far as there is memory."""
    wanted = x.numel()
    if not x.is_contiguous():
        sides = zip(x.shape, x.stride(), strict=True)
        wanted = 1 + sum((size - 1) * stride for size, stride in sides) if wanted else 0
    kept = x.untyped_storage().nbytes() // x.element_size() - x.storage_offset()
    return min(wanted, int(kept))


@functools.cache
def _constants(equation: str) -> _ConstantsStruct:
    known = dynamics_of(equation)
    return _ConstantsStruct(
        float(known.decay),
        float(known.threshold),
        float(known.surrogate.alpha),
        known.reset == "hard",
        known.detach_reset,
        SURROGATES.index(known.surrogate.name),  # the order of kernels.h
    )
