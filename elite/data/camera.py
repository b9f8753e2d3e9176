"""What a training sees of the camera: a crop, changed at random, and the points in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from elite.types import Scan
from elite_ops import project_points

__all__ = ["CameraConfig", "crop_camera", "project_scan"]

T = TypeVar("T", bound=np.generic)
Pixels = NDArray[np.int32]  # [N, 2] (row, col)
JITTERED = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


@dataclass(frozen=True)
class CameraConfig:
    """The crop of the camera image, and how far it may be changed.

    Attributes:
        height: rows of the crop, from the bottom of the image.
        width: columns of the crop, at a random place.
        colour_jitter: brightness, contrast and saturation are each multiplied by 1 ± this.
        flip: probability of the mirrored crop; its pixels follow, the points are not mirrored.
        required: whether every scan must have an image; a scan without one has no teacher.
    """

    height: int = 320
    width: int = 1024
    colour_jitter: float = 0.4
    flip: float = 0.5
    required: bool = True


def project_scan(scan: Scan) -> Scan:
    """`scan` with the pixel of each point; it is taken from the points where the sensor saw them.

    Raises:
        ValueError: if the scan has no image or no projection.
    """
    if scan.image is None or scan.projection is None:
        raise ValueError(f"project_scan: `scan` {scan.name} must have an image and its projection")
    height, width = scan.image.shape[:2]
    points = torch.from_numpy(np.ascontiguousarray(scan.points))
    projection = torch.from_numpy(np.ascontiguousarray(scan.projection))
    pixel, _ = project_points(points, projection, (height, width))
    return replace(scan, pixel=pixel.numpy())


def crop_camera(scan: Scan, config: CameraConfig, rng: np.random.Generator) -> Scan:
    """`scan` with a crop of its image, and with `pixel` and pseudo-labels to match.

    The crop is the bottom of the image at a random left edge, in jittered colours, mirrored or not.
    An image smaller than the crop is padded with 0, at the right and below. The crop has no
    `projection`: `pixel` takes its place. Where none of the scan's points is in the crop, the scan
    is returned without an image: the student has nothing to learn from it.
    """
    if scan.pixel is None:
        scan = project_scan(scan)
    assert scan.image is not None
    assert scan.pixel is not None
    rows, columns = scan.image.shape[:2]
    top = max(rows - config.height, 0)
    left = int(rng.integers(0, max(columns - config.width, 0) + 1))
    window = np.s_[top : top + config.height, left : left + config.width]
    mirrored = bool(rng.random() < config.flip)
    image = scan.image[window]
    pixel = _shift(scan.pixel, (top, left), (image.shape[0], image.shape[1]), mirrored)
    if not (pixel >= 0).any():
        return replace(scan, image=None, pseudo_labels=None, pixel=None, projection=None)
    image = _jitter(image, config.colour_jitter, rng)
    labels = None if scan.pseudo_labels is None else scan.pseudo_labels[window]
    return replace(
        scan,
        image=_pad(_mirror(image, mirrored), config),
        pseudo_labels=None if labels is None else _pad(_mirror(labels, mirrored), config),
        pixel=pixel,
        projection=None,
    )


def _shift(pixel: Pixels, corner: tuple[int, int], size: tuple[int, int], mirrored: bool) -> Pixels:
    """Pixels of the image as pixels of its crop, (-1, -1) outside."""
    shifted = pixel - np.array(corner, np.int32)
    inside = (pixel >= 0).all(1) & (shifted >= 0).all(1) & (shifted < size).all(1)
    if mirrored:
        shifted[:, 1] = size[1] - 1 - shifted[:, 1]
    shifted[~inside] = -1
    return shifted


def _jitter(
    image: NDArray[np.uint8], strength: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Brightness, contrast and saturation in a random order, each by a random factor."""
    factors = rng.uniform(max(1 - strength, 0), 1 + strength, size=len(JITTERED))
    order = rng.permutation(len(JITTERED))
    if strength == 0:
        return image
    picture = Image.fromarray(image)
    for i in order:
        picture = JITTERED[i](picture).enhance(float(factors[i]))
    return np.asarray(picture)


def _mirror(array: NDArray[T], mirrored: bool) -> NDArray[T]:
    return array[:, ::-1] if mirrored else array


def _pad(array: NDArray[T], config: CameraConfig) -> NDArray[T]:
    missing = (config.height - array.shape[0], config.width - array.shape[1])
    widths = [(0, missing[0]), (0, missing[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.ascontiguousarray(np.pad(array, widths))
