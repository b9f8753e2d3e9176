"""Noise that depends on nothing but its arguments: the same place always looks the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

TILE = 512  # texels along each side of the noise tile; a power of two


def hash_unit(*keys: Array | int) -> Array:
    """Mixes integers into one float32 in [0, 1) per element.

    Args:
        *keys: Integers or integer arrays that broadcast together.
    """
    mixed: Array = np.asarray(0x9E3779B9, dtype=np.uint32)
    with np.errstate(over="ignore"):
        for key in keys:
            mixed = (mixed ^ np.asarray(key).astype(np.uint32)) * np.uint32(0x85EBCA6B)
            mixed = mixed ^ (mixed >> np.uint32(15))
        mixed = mixed * np.uint32(0xC2B2AE35)
    return (mixed >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


@cache
def _tile() -> Array:
    """Noise without grain or direction that repeats every `TILE` texels: float32 [TILE * TILE].

    White noise, each wave weakened in proportion to its frequency: mean 0, in [-1, 1].
    """
    white = np.random.default_rng(7).standard_normal((TILE, TILE))
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None, :])
    frequency[0, 0] = np.inf
    pink = np.fft.irfft2(np.fft.rfft2(white) / frequency, (TILE, TILE))
    tile: Array = np.clip(pink / (2.5 * pink.std()), -1, 1).astype(np.float32)
    return tile.reshape(-1)


def texture(u: Array, v: Array, texels_per_metre: float) -> Array:
    """Noise in [-1, 1] at places in the plane.

    Args:
        u: [N], metres.
        v: [N], metres.
        texels_per_metre: How fine the noise is.
    """
    column = np.floor(u * np.float32(texels_per_metre)).astype(np.int32) & (TILE - 1)
    row = np.floor(v * np.float32(texels_per_metre)).astype(np.int32) & (TILE - 1)
    noise: Array = _tile()[row * TILE + column]
    return noise


def smooth_texture(u: Array, v: Array, texels_per_metre: float) -> Array:
    """The same noise, blended between texels: for blobs much larger than a pixel."""
    scaled = (u * np.float32(texels_per_metre), v * np.float32(texels_per_metre))
    column, row = (np.floor(value).astype(np.int32) for value in scaled)
    right, below = scaled[0] - column, scaled[1] - row
    noise = np.zeros(len(u), np.float32)
    for down, weight in ((0, 1 - below), (1, below)):
        start = ((row + down) & (TILE - 1)) * TILE
        left_texel = _tile()[start + (column & (TILE - 1))]
        right_texel = _tile()[start + ((column + 1) & (TILE - 1))]
        noise += weight * (left_texel + right * (right_texel - left_texel))
    return noise
