"""Dense labels: each mask takes the label that most of its points have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elite.pseudo_label.masks import Masks
from elite.pseudo_label.scatter import ImageLabels

__all__ = ["paint"]


def paint(
    masks: Masks,
    sparse: ImageLabels,
    unlabelled_pixel: NDArray[np.int64] | None = None,  # [U, 2] row, col
    min_labelled: float = 0.0,
) -> tuple[ImageLabels, NDArray[np.bool_]]:  # and [H, W]
    """Paints masks in the order of their score, so that the best one comes out on top.

    A mask's label is the majority of the labelled pixels in it, its instance the majority of those
    that have this label (equal votes: the smaller id). Unlabelled pixels have no vote, and a mask
    without votes paints nothing. Pixels under no mask keep their sparse label.

    Args:
        masks: of any order; of equal scores the earlier one comes out on top.
        sparse: labels of the image's pixels.
        unlabelled_pixel: pixels that show a point without a label.
        min_labelled: a mask paints only if at least this share of the pixels in it that show a
            point have a label.

    Returns:
        The labels, and which pixels were painted.
    """
    labels, instances = sparse.labels.copy(), sparse.instances.copy()
    painted = np.zeros(labels.shape, dtype=np.bool_)
    unlabelled = np.zeros(labels.shape, dtype=np.bool_)
    if unlabelled_pixel is not None:
        unlabelled[unlabelled_pixel[:, 0], unlabelled_pixel[:, 1]] = True
        unlabelled[sparse.labels != 0] = False
    from_worst = np.argsort(-masks.scores, kind="stable")[::-1]
    for row in from_worst.tolist():
        box, inside = masks.region(row)
        votes = sparse.labels[box][inside]
        cast = votes[votes != 0]
        blank = np.count_nonzero(unlabelled[box][inside])
        if not cast.size or cast.size < min_labelled * (cast.size + blank):
            continue
        label = _majority(cast)
        labels[box][inside] = label
        instances[box][inside] = _majority(sparse.instances[box][inside][votes == label])
        painted[box][inside] = True
    return ImageLabels(labels, instances), painted


def _majority(votes: NDArray[np.int64]) -> int:
    """The commonest of at least one vote, the smallest of several."""
    return int(np.bincount(votes).argmax())
