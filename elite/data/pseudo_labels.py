"""Dense labels of camera images, as 16-bit PNG files of raw ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elite.data.dataset_spec import DatasetSpec
from elite.errors import EliteError

__all__ = ["read_pseudo_labels"]


def read_pseudo_labels(
    path: Path,
    spec: DatasetSpec,
    image_size: tuple[int, ...],  # height, width
) -> NDArray[np.int64]:  # [H, W]
    """Learning ids of an image's pixels; 0 is unlabelled.

    Raises:
        EliteError: if the file is missing, is of another size than the image, holds something else
            than one number a pixel, or an id that belongs to no class.
    """
    if not path.is_file():
        raise EliteError(f"{path}: no such file", "`elite pseudolabel` makes pseudo-labels.")
    with Image.open(path) as image:
        raw_labels = np.asarray(image)
    if raw_labels.shape != tuple(image_size):
        raise EliteError(f"{path}: must be {tuple(image_size)} pixels, got {raw_labels.shape}")
    return spec.to_learning(raw_labels.astype(np.uint32), path)
