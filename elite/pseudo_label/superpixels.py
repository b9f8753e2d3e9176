"""A segmenter that needs no weights: superpixels stand in for Segment Anything."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elite.errors import EliteError
from elite.pseudo_label.config import SuperpixelConfig
from elite.pseudo_label.masks import Masks
from elite.pseudo_label.scatter import ProjectedPoints

__all__ = ["SuperpixelSegmenter"]


class SuperpixelSegmenter:
    """Felzenszwalb's segmentation at several scales, without looking at the labels.

    Coarse segments reach past the highest beam and fill gaps, fine ones keep thin things apart. The
    score of a segment is its scale's place in the list: finer ones are painted over coarser ones.
    """

    def __init__(self, config: SuperpixelConfig) -> None:
        try:
            self._version = version("scikit-image")
        except PackageNotFoundError as error:
            raise EliteError(
                "superpixels need scikit-image", 'Install it: pip install "elite-lidar[segment]".'
            ) from error
        self.config = config

    def describe(self) -> dict[str, Any]:
        """What a manifest says about the segmenter."""
        return {"name": "felzenszwalb", "scikit-image": self._version}

    def segment(
        self,
        image: NDArray[np.uint8],  # [H, W, 3]
        points: ProjectedPoints,
    ) -> Masks:
        """Segments of all scales; `points` are not looked at."""
        return Masks.concatenate(
            self._segments(image, scale, rank) for rank, scale in enumerate(self.config.scales)
        )

    def _segments(self, image: NDArray[np.uint8], scale: float, rank: int) -> Masks:
        from scipy.ndimage import find_objects
        from skimage.segmentation import felzenszwalb

        ids = felzenszwalb(
            image, scale=scale, sigma=self.config.sigma, min_size=self.config.min_size
        )
        boxes = find_objects(ids + 1)  # which leaves 0 out
        bits = [np.packbits(ids[box] == i) for i, box in enumerate(boxes)]
        edges = [(x.start, y.start, x.stop, y.stop) for y, x in boxes]
        return Masks(
            np.array(edges, dtype=np.int64), np.full(len(bits), rank, dtype=np.float32), bits
        )
