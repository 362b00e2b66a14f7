"""One time step of a LIF layer as operators of one pass, with kernels in Triton."""

from typing import Any

import torch
from torch import Tensor

from ratebp.dynamics import Dynamics
from ratebp.ops import operands
from ratebp.ops.backends import kernels
from ratebp.ops.fused import (
    FLOATS,
    constants,
    dense,
    empty_dense,
    equation_of,
    laid_out,
    operator,
    serves,
    wide_of,
)
from ratebp.ops.lif.step import torch as in_torch


@operator("lif_step")
def _step(current: Tensor, last: Tensor | None, equation: str) -> tuple[Tensor, Tensor]:
    wide = wide_of(current.dtype)
    operands.of_type("lif_step", FLOATS, current=current)
    operands.of_type("lif_step", (wide,), last=last)
    operands.dense("lif_step", 0, current=current)
    operands.laid_out_alike("lif_step", current, 0, last=last)
    spikes, potential = empty_dense(current, 0, current.dtype), empty_dense(current, 0, wide)
    kernels("lif_step", current).forward(equation, current, last, spikes, potential)
    return spikes, potential


@_step.register_fake
def _(current: Tensor, last: Tensor | None, equation: str) -> tuple[Tensor, Tensor]:
    return empty_dense(current, 0, current.dtype), empty_dense(current, 0, wide_of(current.dtype))


@operator("lif_step_backward")
def _step_backward(
    potential: Tensor, last: Tensor | None, by_spikes: Tensor | None, by_potential: Tensor | None,
    dtype: torch.dtype, by_last: bool, equation: str,
) -> list[Tensor]:  # fmt: skip
    name, kept = "lif_step_backward", potential.dtype
    operands.of_type(name, operands.WIDE, potential=potential)
    operands.of_type(name, (kept,), last=last, by_potential=by_potential)
    operands.of_type(name, FLOATS, by_spikes=by_spikes)
    operands.dense(name, 0, potential=potential)
    given = {"last": last, "by_spikes": by_spikes, "by_potential": by_potential}
    operands.laid_out_alike(name, potential, 0, **given)
    out = _gradients(potential, dtype, by_last)
    by_current, *rest = out
    kernels("lif_step_backward", potential).backward(
        equation, potential, last, by_spikes, by_potential, by_current, rest[0] if rest else None
    )
    return out


@_step_backward.register_fake
def _(
    potential: Tensor, last: Tensor | None, by_spikes: Tensor | None, by_potential: Tensor | None,
    dtype: torch.dtype, by_last: bool, equation: str,
) -> list[Tensor]:  # fmt: skip
    return _gradients(potential, dtype, by_last)


def _gradients(potential: Tensor, dtype: torch.dtype, by_last: bool) -> list[Tensor]:
    """Return memory for the gradients by the current and, if wanted, by the last potential."""
    return [empty_dense(potential, 0, each) for each in (dtype, potential.dtype)[: 1 + by_last]]


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    current, last, equation = inputs
    ctx.set_materialize_grads(False)
    ctx.dtype, ctx.equation = current.dtype, equation
    ctx.by_last = last is not None and ctx.needs_input_grad[1]
    known = constants(equation)
    number = known["RESET"] == "soft" and known["DETACH"]
    ctx.save_for_backward(output[1], last if ctx.by_last and not number else None)


def _differentiate(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
    potential, last = ctx.saved_tensors
    given = [None if d is None else laid_out(d, potential.stride(), 0) for d in grads]
    if all(d is None for d in given):
        return None, None, None
    found = _step_backward(potential, last, *given, ctx.dtype, ctx.by_last, ctx.equation)
    return found[0], found[1] if ctx.by_last else None, None


_step.register_autograd(_differentiate, setup_context=_setup)


def lif_step(current: Tensor, last: Tensor | None, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
    """Return the spikes and the potential of one time step, like `naive_lif_step`.

    Args:
        current: input current of this step, ``[B, ...]``.
        last: the last step's potential; None at the first step.
        dynamics: the layer's constants.
    """
    if not serves("lif_step", current, dynamics):
        return in_torch.lif_step(current, last, dynamics)
    now = dense(current, 0)
    before = None if last is None else laid_out(last, now.stride(), 0)
    found: tuple[Tensor, Tensor] = _step(now, before, equation_of(dynamics))
    return found
