"""The batch that an import is proven on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from ratebp import legal
from ratebp.errors import InputError
from ratebp.importers.tree import apart

_BATCH, _SEED = 2, 0
_IMAGES = (28, 32, 34, 48, 64, 128, 224)
"""Sides of the images that are tried where the caller gives no shape."""


def probe(
    model: nn.Module,
    x: Tensor | None,
    input_shape: Sequence[int] | None,
    timesteps: int,
    runs: Callable[[nn.Module, Tensor], object],
) -> Tensor:
    """Return the probe batch ``[T, B, ...]`` in float64: given, drawn, or of a shape that runs.

    Args:
        model: the source.
        x: given by the caller, or None.
        input_shape: of one sample, or None.
        timesteps: T of a drawn batch.
        runs: runs a copy of the source on a batch.

    Raises:
        InputError: when no shape is given and none that was tried runs.
    """
    legal.whole("timesteps", timesteps)
    if x is not None:
        if x.dim() < 3:
            raise InputError(f"the probe x has shape {[*x.shape]}, but must be [T, B, ...].")
        return x.detach().double().cpu()
    if input_shape is not None:
        return _drawn(timesteps, tuple(input_shape))
    tried = []
    for shape in _shapes(model):
        drawn = _drawn(timesteps, shape)
        try:
            with torch.no_grad():
                runs(apart(model).eval(), drawn)
        except Exception as error:
            words = str(error).splitlines() or [type(error).__name__]
            tried.append(f"{[*shape]}: {words[0]}")
            continue
        return drawn
    raise InputError(
        f"{type(model).__name__} runs with no sample of the shapes tried ({'; '.join(tried)}). "
        "Give a probe batch x=[T, B, ...], or input_shape=(3, 32, 32), the shape of one sample."
    )


def _drawn(timesteps: int, shape: tuple[int, ...]) -> Tensor:
    """Draw a batch of values in [0, 2), another at each step: on a constant, time hardly shows."""
    made = torch.Generator().manual_seed(_SEED)
    return 2 * torch.rand(timesteps, _BATCH, *shape, generator=made, dtype=torch.float64)


def _shapes(model: nn.Module) -> Iterator[tuple[int, ...]]:
    """Yield shapes that the first layer with weights may take."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            yield (module.in_features,)
            return
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            for side in _IMAGES:
                yield (module.in_channels, *(side,) * len(module.kernel_size))
            return
