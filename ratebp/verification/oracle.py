"""A plain training step of a model: all time steps one after the other, then autograd's backward.

This is what every method is compared with. It shares nothing with the methods but the equations of
the neurons (`ratebp.verification.plain`): no view, no wiring, no operator, no schedule.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ratebp.inputs import call, each_of, tensors_of
from ratebp.neurons import PSN, Delay, Recurrent
from ratebp.norms import RateScale
from ratebp.roles import Role, role_of
from ratebp.schedules import Loss
from ratebp.structures import Output, detached, mean_of
from ratebp.verification import plain, plain_layers
from ratebp.verification.lockstep import Lockstep

Neurons = Callable[[nn.Module, str], Callable[..., Any]]
"""``make(leaf, path) -> forward``: other neurons than those of the model."""


@dataclass(frozen=True)
class Run:
    """What one training step gave, detached.

    Attributes:
        loss: the scalar that was minimised.
        logits: mean outputs ``[B, ...]``, in the structure that the model returns.
        gradients: of every parameter, None where none arrived.
        buffers: after the step.
        input_gradients: one for each input, None where it asked for none.
        outputs: of every leaf with a role, by path in the order of the first step: one tensor a
            call, so one a time step for a leaf that is called once.
        draws: whether the forward drew from torch's generator.
    """

    loss: Tensor
    logits: Output
    gradients: Mapping[str, Tensor | None]
    buffers: Mapping[str, Tensor]
    input_gradients: tuple[Tensor | None, ...]
    outputs: Mapping[str, list[Tensor]] = field(default_factory=dict)
    draws: bool = False


def prepared(model: nn.Module) -> nn.Module:
    """Return a copy of `model` in float64 whose dropouts draw from generators of their own."""
    double = copy.deepcopy(model).double()
    for path, leaf in double.named_modules():
        if type(leaf) in plain_layers.DROPOUTS:
            plain_layers.draw_alone(leaf, path)
    return double


def snapshot(model: nn.Module, x: Tensor, loss: Tensor, logits: Output, **more: Any) -> Run:
    """Return what a step of `model` on `x` left behind."""
    return Run(
        loss.detach(),
        detached(logits),
        {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()},
        {n: b.detach().clone() for n, b in model.named_buffers()},
        tuple(None if each.grad is None else each.grad.clone() for each in tensors_of(x)),
        **more,
    )


def run(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Loss,
    *,
    layout: str,
    loss_mode: str,
    through_time: bool = True,
    neurons: Neurons | None = None,
) -> Run:
    """Run one training step of `model` the plain way, and return what it gave.

    Args:
        model: as `prepared` returns it; it is used up.
        x: inputs ``[T, B, ...]``.
        y: targets.
        loss: of ``[B, ...]``, scalar.
        layout: "single" takes batch statistics of each step, "multi" over T*B.
        loss_mode: "mean" for the loss of the mean output, "per_step" for the mean of the losses.
        through_time: whether gradients flow from a step to the one before.
        neurons: makes other neurons; the model's own equations if None.

    Raises:
        NoOracleError: for a neuron that is not known.
    """
    carry: plain.Carry = (lambda state: state) if through_time else torch.Tensor.detach
    outputs: dict[str, list[Tensor]] = {}
    for path, leaf in model.named_modules():
        if role_of(leaf) is not None:
            leaf.register_forward_hook(_recorder(outputs, path))
    state = torch.get_rng_state()
    steps = forward(model, x, layout, carry, neurons)
    draws = not torch.equal(state, torch.get_rng_state())
    logits = mean_of(steps)
    losses = [logits] if loss_mode == "mean" else steps
    value = torch.stack([loss(each, y) for each in losses]).mean()
    torch.autograd.backward(value)
    return snapshot(model, x, value, logits, outputs=outputs, draws=draws)


def forward(
    model: nn.Module,
    x: Tensor,
    layout: str = "single",
    carry: plain.Carry = lambda state: state,
    neurons: Neurons | None = None,
) -> list[Output]:
    """Return the outputs of all time steps of ``x [T, B, ...]``.

    Args:
        model: as `prepared` returns it; it is used up.
        x: inputs.
        layout: as for `run`.
        carry: what a step gets of the state of the one before.
        neurons: as for `run`.
    """
    lockstep = Lockstep(len(x))
    meets = _install(model, len(x), layout, carry, lockstep, neurons)

    def step(now: Tensor) -> Output:
        return call(model, each_of(now, Tensor.clone))  # a model may write into its input

    with _checkpoints_passed():
        return lockstep.run(step, x) if meets else [step(now) for now in x.unbind(0)]


def _install(
    model: nn.Module,
    timesteps: int,
    layout: str,
    carry: plain.Carry,
    lockstep: Lockstep,
    neurons: Neurons | None,
) -> bool:
    """Give every leaf its plain forward; return whether steps meet anywhere."""
    meets = False
    for path, leaf in model.named_modules():
        call: Callable[..., Any] | None = None
        if role_of(leaf) is Role.NEURON:
            own = None if neurons is None or isinstance(leaf, Delay) else neurons(leaf, path)
            call = own or plain.neuron(leaf, path, carry, lockstep)
            meets |= isinstance(leaf, PSN)
        elif isinstance(leaf, _NormBase | RateScale):
            over_all = layout == "multi" and leaf.training
            call = plain_layers.norm(leaf, timesteps, lockstep if over_all else None)
            meets |= over_all
        elif isinstance(leaf, plain_layers.DROPOUTS):
            call = plain_layers.masked(leaf)
        if call is not None:
            leaf.__dict__["forward"] = call
    return meets


def _recorder(outputs: dict[str, list[Tensor]], path: str) -> Callable[..., None]:
    def record(_module: nn.Module, _args: Any, out: Any) -> None:
        if isinstance(out, Tensor):
            outputs.setdefault(path, []).append(out.detach())

    return record


@contextmanager
def _checkpoints_passed() -> Iterator[None]:
    """Let `torch.utils.checkpoint` call what it is given and keep everything.

    What it computes is the same by definition, and running a stage again would run its neurons on
    from the state that the last step left.
    """

    def passed(*_: Any, **__: Any) -> Iterator[None]:
        yield

    def applied(function: Callable[..., Any], _preserve: bool, *args: Any) -> Any:
        return function(*args)

    places: tuple[tuple[Any, str, Any], ...] = (
        (torch.utils.checkpoint, "_checkpoint_without_reentrant_generator", passed),
        (torch.utils.checkpoint.CheckpointFunction, "apply", applied),
    )
    before = [getattr(owner, name) for owner, name, _ in places]
    try:
        for owner, name, instead in places:
            setattr(owner, name, instead)
        yield
    finally:
        for (owner, name, _), old in zip(places, before, strict=True):
            setattr(owner, name, old)


def outer_neurons(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the neurons of `model` that are in no other neuron, with their paths."""
    inner = {
        id(part)
        for layer in model.modules()
        if isinstance(layer, Recurrent)
        for part in layer.modules()
        if part is not layer
    }
    return [
        (path, leaf)
        for path, leaf in model.named_modules()
        if role_of(leaf) is Role.NEURON and id(leaf) not in inner
    ]
