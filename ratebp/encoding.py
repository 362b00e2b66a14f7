"""From an image to a sequence of inputs."""

from __future__ import annotations

from torch import Tensor

from ratebp.errors import OptionError


def direct(image: Tensor, timesteps: int) -> Tensor:
    """Return direct coding: the same image at every time step.

    Args:
        image: ``[B, ...]``, real-valued.
        timesteps: T, at least 1.

    Returns:
        ``[T, B, ...]``, an expanded view with stride 0 over T; no memory is allocated.

    Raises:
        OptionError: for a number of time steps below 1.
    """
    if timesteps < 1:
        raise OptionError(f"timesteps={timesteps} must be at least 1.")
    return image.expand(timesteps, *image.shape)
