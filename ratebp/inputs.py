"""Several inputs of a model, which go through a schedule as one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ratebp.errors import InputError

Given = Tensor | tuple[Tensor, ...] | list[Tensor] | Mapping[str, Tensor]
"""What a user gives: the one input, or a tuple, a list or a dict of several."""


class Inputs:
    """Several inputs, of all time steps ``[T, B, ...]`` or of one; it answers as one tensor would.

    Schedules and methods take it for the sequence `x`: what they do with that, it does with each.

    Attributes:
        args: the inputs that are handed to the forward by their place.
        kwargs: those that are handed to it by name.
    """

    def __init__(
        self, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor], kind: str = "tuple"
    ) -> None:
        """Take the tensors; `kind` is what the user gave them in."""
        self.args = args
        self.kwargs = dict(kwargs)
        self.kind = kind

    @property
    def tensors(self) -> list[Tensor]:
        """All of them."""
        return [*self.args, *self.kwargs.values()]

    @property
    def shape(self) -> torch.Size:
        """What all have in common: ``[T, B]`` of sequences."""
        return self.tensors[0].shape[:2]

    @property
    def requires_grad(self) -> bool:
        """Does any ask for its gradient?"""
        return any(each.requires_grad for each in self.tensors)

    @property
    def device(self) -> torch.device:
        """Of all of them."""
        return self.tensors[0].device

    def __len__(self) -> int:
        """Return the size of the first dimension."""
        return len(self.tensors[0])

    def each(self, function: Callable[[Tensor], Tensor]) -> Inputs:
        """Return these inputs with what `function` makes of each."""
        args = tuple(map(function, self.args))
        named = {name: function(each) for name, each in self.kwargs.items()}
        return Inputs(args, named, self.kind)

    def __getitem__(self, index: int | slice) -> Inputs:
        """Return one time step, or several."""
        return self.each(lambda x: x[index])

    def unbind(self, dim: int) -> tuple[Inputs, ...]:
        """Return the time steps; `dim` is 0."""
        return tuple(self[t] for t in range(len(self)))

    def flatten(self, start: int, end: int) -> Inputs:
        """Return all with dimensions joined, such as ``[T*B, ...]``."""
        return self.each(lambda x: x.flatten(start, end))

    def detach(self) -> Inputs:
        """Return them without a graph."""
        return self.each(Tensor.detach)

    def unsqueeze(self, dim: int) -> Inputs:
        """Return all with one more dimension, such as one time step ``[1, B, ...]``."""
        return self.each(lambda x: x.unsqueeze(dim))


def gathered(x: Any) -> Any:
    """Return what a user gave as a tensor, or as `Inputs`; anything else as it is."""
    if isinstance(x, tuple | list):
        return Inputs(tuple(x), {}, type(x).__name__)
    return Inputs((), x, type(x).__name__) if isinstance(x, Mapping) else x


def tensors_of(x: Tensor | Inputs) -> list[Tensor]:
    """Return the tensors of one input, or of several."""
    return x.tensors if isinstance(x, Inputs) else [x]


def form_of(x: Tensor | Inputs) -> Callable[[Sequence[Tensor]], Any]:
    """Return what makes a sequence like `x` of tensors in the order of `tensors_of`."""
    if not isinstance(x, Inputs):
        return lambda tensors: tensors[0]
    count, names, kind = len(x.args), [*x.kwargs], x.kind

    def form(tensors: Sequence[Tensor]) -> Inputs:
        named = dict(zip(names, tensors[count:], strict=True))
        return Inputs(tuple(tensors[:count]), named, kind)

    return form


def each_of(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what `function` makes of the input, or of each of several."""
    several: Any = x
    return cast(Tensor, several.each(function)) if isinstance(several, Inputs) else function(x)


def call(module: Callable[..., Any], x: Any) -> Any:
    """Return ``module(x)``, or what it makes of several inputs."""
    return module(*x.args, **x.kwargs) if isinstance(x, Inputs) else module(x)


def arguments(x: Tensor | Inputs) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Return what a forward is called with: by place, and by name."""
    return (x.args, x.kwargs) if isinstance(x, Inputs) else ((x,), {})


def by_name(model: nn.Module, x: Any) -> dict[str, Any]:
    """Return the tensors of `x` by the names that the forward of `model` gives them.

    Raises:
        InputError: for inputs that this forward does not take.
    """
    signature = inspect.signature(model.forward)
    args, kwargs = arguments(x)
    try:
        found = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise InputError(_refusal(model, signature, x, error)) from error
    named: dict[str, Any] = {}
    for name, value in found.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            named.update((f"{name}[{place}]", each) for place, each in enumerate(value))
        elif kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[name] = value
    return named


def _refusal(model: nn.Module, signature: inspect.Signature, x: Any, error: TypeError) -> str:
    names = ", ".join(signature.parameters) or "nothing"
    what = "one tensor"
    if isinstance(x, Inputs):
        what = f"a {x.kind} of {', '.join(map(str, x.kwargs)) or len(x.args)}"
    return (
        f"x is {what}, but the forward of {type(model).__name__} takes ({names}): {error}. Give "
        "one tensor [T, B, ...], a tuple or list of such in the order of the forward, or a dict by "
        "the names of its parameters."
    )
