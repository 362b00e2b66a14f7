"""What goes into a step: real tensors, time-major, of the type and device of the parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ratebp.errors import InputError, OptionError
from ratebp.inputs import Inputs, by_name, tensors_of

_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_INDICES = (torch.int32, torch.int64)
_CONVS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
_CASTED = (torch.float16, torch.bfloat16, torch.float32)
"""The types that autocast converts into each other."""

_TIME_MAJOR = (
    "inputs are time-major [T, B, ...]. Encode images [B, ...] with ratebp.direct(images, T)"
)


def refuse_untrainable(model: nn.Module, x: Tensor | Inputs, method: str, inputs: bool) -> None:
    """Check that a step may build a graph, and gives the gradients that are asked for.

    Args:
        model: what is trained.
        x: its input, or its several ones.
        method: name of the method, for messages.
        inputs: whether it defines a gradient by the input.

    Raises:
        OptionError: under `torch.no_grad` or `torch.inference_mode`, for tensors of the latter, and
            for an input that requires a gradient where there is none.
    """
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        where = "inference_mode" if torch.is_inference_mode_enabled() else "no_grad"
        raise OptionError(
            f"step was called under torch.{where}(), where nothing can be trained. Call it "
            "outside, or ratebp.infer(model, x) to predict."
        )
    first = next(model.parameters(), None)
    made = any(each.is_inference() for each in tensors_of(x))
    if made or (first is not None and first.is_inference()):
        what = "x" if made else "the model"
        raise OptionError(
            f"{what} was made under torch.inference_mode(), so autograd cannot keep it. Make it "
            "under torch.no_grad(), or outside."
        )
    if x.requires_grad and not inputs:
        raise OptionError(
            f"x requires a gradient, but {method} defines none by the input. Pass x.detach(), or "
            "train with bptt_m or bptt_s, which give the exact one."
        )


def refuse_inputs(
    model: nn.Module,
    x: object,
    entrances: Mapping[str, Collection[str]] | None = None,
    timesteps: int | None = None,
    indices: Collection[str] = (),
) -> None:
    """Check an input sequence, or several that go together.

    Args:
        model: what takes it, step by step.
        x: inputs, time-major ``[T, B, ...]``, or `Inputs`.
        entrances: by the name that the forward gives an input, the paths of the modules that take
            it as it is, and nothing else does; None if not known.
        timesteps: T, None for any.
        indices: the inputs that embeddings may take.

    Raises:
        InputError: for what is no tensor, has another T, no time step or no sample, is complex, is
            an integer where no embedding reads it, or has another type, device or shape than the
            parameters and modules that read it; and for inputs that the forward does not take.
    """
    names, keys = ["x"], [*by_name(model, x)]
    found: list[Any] = [x]
    if isinstance(x, Inputs):
        keys = [*keys[: len(x.args)], *x.kwargs]
        found = x.tensors
        names = [*(f"x[{place}]" for place in range(len(x.args))), *(f"x[{n!r}]" for n in x.kwargs)]
    for name, each in zip(names, found, strict=True):
        _refuse_no_tensor(name, each)
        _refuse_shape(name, each, timesteps)
    _refuse_uneven(names, found)
    for name, key, each in zip(names, keys, found, strict=True):
        known = None if entrances is None else entrances.get(key, ())
        readers = {path: model.get_submodule(path) for path in known or ()}
        _refuse_type(
            _OneInput(name, each, model, key in indices),
            list(readers.values()) if known is not None else None,
        )
        for path, reader in readers.items():
            _refuse_reader(name, path, reader, each)


def _refuse_no_tensor(name: str, x: object) -> None:
    if not isinstance(x, Tensor):
        raise InputError(
            f"{name} is a {type(x).__name__}, but must be one tensor: {_TIME_MAJOR}. Several "
            "inputs go into a tuple, a list or a dict of tensors [T, B, ...]; what is no tensor "
            "goes into attributes of the model."
        )


def _refuse_uneven(names: list[str], tensors: list[Tensor]) -> None:
    for name, each in zip(names, tensors, strict=True):
        if each.shape[:2] != tensors[0].shape[:2]:
            raise InputError(
                f"{name} has shape {tuple(each.shape)}, but {names[0]} "
                f"{tuple(tensors[0].shape)}: all inputs have the same T and B in front. What does "
                f"not change over time is given as ratebp.direct(value, {len(tensors[0])})."
            )


def _refuse_shape(name: str, x: Tensor, timesteps: int | None) -> None:
    shape = f"{name} has shape {tuple(x.shape)}, but"
    if timesteps is not None and (x.dim() < 2 or x.shape[0] != timesteps):
        raise InputError(
            f"{shape} the method is bound to timesteps={timesteps}: inputs are time-major "
            f"[T, B, ...]. Encode images with ratebp.direct(images, {timesteps}), or bind again."
        )
    if x.dim() < 2:
        raise InputError(f"{shape} {_TIME_MAJOR}.")
    if x.shape[0] == 0 or x.shape[1] == 0:
        what = "time step" if x.shape[0] == 0 else "sample"
        raise InputError(f"{shape} has no {what}: {_TIME_MAJOR}, T and B at least 1.")


@dataclass(frozen=True)
class _OneInput:
    """One input, what messages call it, and whether an embedding may take it."""

    name: str
    x: Tensor
    model: nn.Module
    indexes: bool


def _refuse_type(given: _OneInput, readers: list[nn.Module] | None) -> None:
    name, x, model = given.name, given.x, given.model
    if readers is None:  # unknown: any embedding may read it
        embeds = any(isinstance(each, _EMBEDDINGS) for each in model.modules())
        only = False
    else:
        only = bool(readers) and all(isinstance(r, _EMBEDDINGS) for r in readers)
        embeds = only or given.indexes
    if embeds and x.dtype in _INDICES:
        _refuse_place(given, typed=False)
        return
    if only:
        raise InputError(
            f"{name} has type {x.dtype}, but the model's embedding takes indices, torch.int64. "
            f"Pass {name}.long()."
        )
    if not x.is_floating_point():
        raise InputError(
            f"{name} has type {x.dtype}, but a method needs real numbers. "
            + (
                "Pass its real and imaginary parts side by side (torch.view_as_real)."
                if x.is_complex()
                else f"Pass {name}.float() (frames of uint8: {name}.float() / 255); only what "
                "nn.Embedding takes may be indices, torch.int64."
            )
        )
    _refuse_place(given, typed=True)


def _refuse_place(given: _OneInput, *, typed: bool) -> None:
    """Refuse another device than the parameters' and, if `typed`, another type."""
    name, x = given.name, given.x
    real = [p for p in given.model.parameters() if p.is_floating_point()]
    first = next(iter(real), None)
    if first is None or (first.dtype == x.dtype and first.device == x.device):
        return
    if x.device not in {p.device for p in real}:
        raise InputError(
            f"{name} is on {x.device}, but the model's parameters are on {first.device}. Pass "
            f"{name}.to({str(first.device)!r})."
        )
    types = {p.dtype for p in real}
    casted = torch.is_autocast_enabled(x.device.type) and {x.dtype, *types}.issubset(_CASTED)
    if typed and x.dtype not in types and not casted:
        raise InputError(
            f"{name} has type {x.dtype}, but the model's parameters have {first.dtype}. Pass "
            f"{name}.to({first.dtype}), or move the model with model.to({x.dtype}) and bind again."
        )


def _refuse_reader(name: str, path: str, reader: nn.Module, x: Tensor) -> None:
    shape = tuple(x.shape)
    if type(reader) in _CONVS:
        assert isinstance(reader, _ConvNd)
        sizes = ["H", "W", "D"][: len(reader.kernel_size)]
        if x.dim() != 3 + len(sizes) or x.shape[2] != reader.in_channels:
            wants = ", ".join(["T", "B", str(reader.in_channels), *sizes])
            raise InputError(
                f"{name} has shape {shape}, but `{path}` ({type(reader).__name__}) reads it, so "
                f"it must be [{wants}]: {_TIME_MAJOR}."
            )
    elif type(reader) is nn.Linear and (x.dim() < 3 or x.shape[-1] != reader.in_features):
        raise InputError(
            f"{name} has shape {shape}, but `{path}` (Linear) reads it, so it must be [T, B, ..., "
            f"{reader.in_features}]: {_TIME_MAJOR}."
        )
