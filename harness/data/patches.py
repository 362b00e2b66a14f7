"""Colour patches like pieces of photographs, from a seed alone, the same on every machine.

Photographs have a spectrum that falls with frequency. So a patch is a sum of four octaves of
smooth noise, each half as strong and twice as fine as the one before, most of it shared by the
three channels. Every step is exact arithmetic on whole numbers, and numpy's legacy generator has a
frozen stream: nothing depends on the machine, on the version or on the number of images at a time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

SIDE = 32
_CHANNELS = 3
_OCTAVES = ((32, 8), (16, 4), (8, 2), (4, 1))  # pixels between the knots, weight
_SHARED = 2  # weight of the octaves that all channels share, against 1 for the channel's own
_GAIN = 2  # of the contrast around mid-grey; a sum of noises is paler than its parts
_MIDDLE = 128


def blend(images: Bytes, seed: int) -> Bytes:
    """Colour images `[N, 3, 32, 32]`: `|patch - image|` of grey ones, `[N, H, W]`, H and W <= 32.

    The recipe of MNIST-M (Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR
    2016) with `patches` for its photographs; smaller images are centred on black first.
    """
    height, width = images.shape[1:]
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    out = patches(len(images), seed)
    centre = out[:, :, top : top + height, left : left + width]
    grey = images[:, None]
    # In bytes, the larger less the smaller is the absolute difference without a wider type.
    centre[...] = np.maximum(centre, grey) - np.minimum(centre, grey)
    return out


def patches(count: int, seed: int) -> Bytes:
    """`count` colour patches, `[count, 3, 32, 32]`."""
    generator = np.random.RandomState(seed)
    return np.stack([_patch(generator) for _ in range(count)])


def _patch(generator: np.random.RandomState) -> Bytes:
    """One patch, `[3, 32, 32]`: the noise of plane 0 is shared, planes 1 to 3 are one channel's."""
    noise = np.zeros((1 + _CHANNELS, SIDE, SIDE), dtype=np.float32)
    for spacing, weight in _OCTAVES:
        rows = _KNOTS[spacing]
        side = rows.shape[1]
        knots = generator.randint(0, 256, (1 + _CHANNELS, side, side), dtype=np.uint8)
        noise += weight * np.floor(rows @ knots.astype(np.float32) @ rows.T / spacing**2)
    total = _SHARED * noise[0] + noise[1:]
    levels = sum(weight for _, weight in _OCTAVES) * (_SHARED + 1)  # `total` is 0 to 255 * levels
    centred = np.floor(_GAIN * (total - _MIDDLE * levels) / levels) + _MIDDLE
    patch: Bytes = centred.clip(0, 255).astype(np.uint8)
    return patch


def _interpolation(spacing: int) -> npt.NDArray[np.float32]:
    """Weights that draw straight lines between knots `spacing` pixels apart, times `spacing`.

    `[SIDE, SIDE / spacing + 1]`; whole numbers, so that float32 products with bytes stay exact.
    """
    pixel = np.arange(SIDE)
    weights = np.zeros((SIDE, SIDE // spacing + 1), dtype=np.float32)
    weights[pixel, pixel // spacing] = spacing - pixel % spacing
    weights[pixel, pixel // spacing + 1] = pixel % spacing
    return weights


_KNOTS = {spacing: _interpolation(spacing) for spacing, _ in _OCTAVES}
