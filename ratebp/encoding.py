"""From an image to a sequence of inputs."""

from __future__ import annotations

from torch import Tensor

from ratebp.errors import OptionError
from ratebp.legal import whole


def direct(image: Tensor, timesteps: int) -> Tensor:
    """Return direct coding: the same image at every time step.

    Args:
        image: ``[B, ...]``, real-valued.
        timesteps: T, at least 1.

    Returns:
        ``[T, B, ...]``, an expanded view with stride 0 over T; no memory is allocated.

    Raises:
        OptionError: for a number of time steps below 1, or an image that is no tensor.
    """
    if not isinstance(image, Tensor):
        raise OptionError(f"the image is a {type(image).__name__}, but must be a tensor [B, ...].")
    return image.expand(whole("timesteps", timesteps), *image.shape)
