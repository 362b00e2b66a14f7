"""What goes into a step: one real tensor, time-major, of the type and device of the parameters."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ratebp.errors import InputError, OptionError

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


def refuse_untrainable(model: nn.Module, x: Tensor, method: str, inputs: bool) -> None:
    """Check that a step may build a graph, and gives the gradients that are asked for.

    Args:
        model: what is trained.
        x: its input.
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
    if x.is_inference() or (first is not None and first.is_inference()):
        what = "x" if x.is_inference() else "the model"
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
    entrances: Collection[str] | None = None,
    timesteps: int | None = None,
) -> None:
    """Check an input sequence.

    Args:
        model: what takes it, step by step.
        x: inputs, time-major ``[T, B, ...]``.
        entrances: paths of the modules that take the input as it is; None if not known.
        timesteps: T, None for any.

    Raises:
        InputError: for what is no tensor, has another T, no time step or no sample, is complex, is
            an integer where no embedding reads it, or has another type, device or shape than the
            parameters and modules that read it.
    """
    if not isinstance(x, Tensor):
        raise InputError(
            f"x is a {type(x).__name__}, but must be one tensor: {_TIME_MAJOR}. Put what else the "
            "model takes into buffers of it, or beside x with torch.cat."
        )
    _refuse_shape(x, timesteps)
    readers = {path: model.get_submodule(path) for path in entrances or ()}
    _refuse_type(model, x, list(readers.values()) if entrances is not None else None)
    for path, reader in readers.items():
        _refuse_reader(path, reader, x)


def _refuse_shape(x: Tensor, timesteps: int | None) -> None:
    shape = f"x has shape {tuple(x.shape)}, but"
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


def _refuse_type(model: nn.Module, x: Tensor, readers: list[nn.Module] | None) -> None:
    if readers is None:  # unknown: any embedding may read it
        embeds = any(isinstance(each, _EMBEDDINGS) for each in model.modules())
        only = False
    else:
        embeds = only = bool(readers) and all(isinstance(r, _EMBEDDINGS) for r in readers)
    if embeds and x.dtype in _INDICES:
        _refuse_place(model, x, typed=False)
        return
    if only:
        raise InputError(
            f"x has type {x.dtype}, but the model's embedding takes indices, torch.int64. Pass "
            "x.long()."
        )
    if not x.is_floating_point():
        raise InputError(
            f"x has type {x.dtype}, but a method needs real numbers. "
            + (
                "Pass its real and imaginary parts side by side (torch.view_as_real)."
                if x.is_complex()
                else "Pass x.float() (frames of uint8: x.float() / 255); only a model that starts "
                "with nn.Embedding takes indices."
            )
        )
    _refuse_place(model, x, typed=True)


def _refuse_place(model: nn.Module, x: Tensor, *, typed: bool) -> None:
    """Refuse another device than the parameters' and, if `typed`, another type."""
    first = next((p for p in model.parameters() if p.is_floating_point()), None)
    if first is None or (first.dtype == x.dtype and first.device == x.device):
        return
    real = [p for p in model.parameters() if p.is_floating_point()]
    if x.device not in {p.device for p in real}:
        raise InputError(
            f"x is on {x.device}, but the model's parameters are on {first.device}. Pass "
            f"x.to({str(first.device)!r})."
        )
    types = {p.dtype for p in real}
    casted = torch.is_autocast_enabled(x.device.type) and {x.dtype, *types}.issubset(_CASTED)
    if typed and x.dtype not in types and not casted:
        raise InputError(
            f"x has type {x.dtype}, but the model's parameters have {first.dtype}. Pass "
            f"x.to({first.dtype}), or move the model with model.to({x.dtype}) and bind again."
        )


def _refuse_reader(path: str, reader: nn.Module, x: Tensor) -> None:
    shape = tuple(x.shape)
    if type(reader) in _CONVS:
        assert isinstance(reader, _ConvNd)
        sizes = ["H", "W", "D"][: len(reader.kernel_size)]
        if x.dim() != 3 + len(sizes) or x.shape[2] != reader.in_channels:
            wants = ", ".join(["T", "B", str(reader.in_channels), *sizes])
            raise InputError(
                f"x has shape {shape}, but `{path}` ({type(reader).__name__}) reads it, so it must "
                f"be [{wants}]: {_TIME_MAJOR}."
            )
    elif type(reader) is nn.Linear and (x.dim() < 3 or x.shape[-1] != reader.in_features):
        raise InputError(
            f"x has shape {shape}, but `{path}` (Linear) reads it, so it must be [T, B, ..., "
            f"{reader.in_features}]: {_TIME_MAJOR}."
        )
