"""Dense labels: each mask takes the label that most of its points have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elite.pseudo_label.masks import Masks
from elite.pseudo_label.scatter import ImageLabels

__all__ = ["paint"]


def paint(masks: Masks, sparse: ImageLabels) -> tuple[ImageLabels, NDArray[np.bool_]]:
    """Paints masks in the order of their score, so that the best one comes out on top.

    A mask's label is the majority of the labelled pixels in it, its instance the majority of those
    that have this label (equal votes: the smaller id). Unlabelled pixels have no vote, and a mask
    without votes paints nothing. Pixels under no mask keep their sparse label.

    Args:
        masks: of any order; of equal scores the earlier one comes out on top.
        sparse: labels of the image's pixels.

    Returns:
        The labels, and which pixels were painted.
    """
    labels, instances = sparse.labels.copy(), sparse.instances.copy()
    painted = np.zeros(labels.shape, dtype=np.bool_)
    from_worst = np.argsort(-masks.scores, kind="stable")[::-1]
    for row in from_worst.tolist():
        box, inside = masks.region(row)
        votes = sparse.labels[box][inside]
        if not votes.any():
            continue
        label = _majority(votes[votes != 0])
        labels[box][inside] = label
        instances[box][inside] = _majority(sparse.instances[box][inside][votes == label])
        painted[box][inside] = True
    return ImageLabels(labels, instances), painted


def _majority(votes: NDArray[np.int64]) -> int:
    """The commonest of at least one vote, the smallest of several."""
    return int(np.bincount(votes).argmax())
