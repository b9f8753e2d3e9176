"""Masks of an image, kept small, and the filters that choose among them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elite.pseudo_label.prompts import Crop
from elite_ops import nms

__all__ = ["Masks", "stability", "suppress", "touches_crop_edge"]

EDGE = 20  # pixels: a box this near to an edge touches it


@dataclass(frozen=True)
class Masks:
    """Binary masks with a score each; a mask is stored as the bits inside its box.

    Attributes:
        boxes: pixel edges, so that x2 - x1 is the width.
    """

    boxes: NDArray[np.int64]  # [K, 4] x1 y1 x2 y2
    scores: NDArray[np.float32]  # [K]
    bits: list[NDArray[np.uint8]]

    @classmethod
    def from_dense(
        cls,
        dense: NDArray[np.bool_],  # [K, H, W], none of them empty
        scores: NDArray[np.float32],  # [K]
        offset: tuple[int, int] = (0, 0),  # left, top: where the image has pixel (0, 0) of `dense`
    ) -> Masks:
        x1, x2 = _extent(dense, across=1)
        y1, y2 = _extent(dense, across=2)
        local = np.stack([x1, y1, x2, y2], axis=1)
        bits = [
            np.packbits(mask[top:bottom, left:right])
            for mask, (left, top, right, bottom) in zip(dense, local.tolist(), strict=True)
        ]
        return cls(local + np.array(offset * 2), scores, bits)

    @classmethod
    def concatenate(cls, parts: Iterable[Masks]) -> Masks:
        boxes, scores, bits = [np.zeros((0, 4), np.int64)], [np.zeros(0, np.float32)], []
        for part in parts:
            boxes.append(part.boxes)
            scores.append(part.scores)
            bits += part.bits
        return cls(np.concatenate(boxes), np.concatenate(scores), bits)

    def __len__(self) -> int:
        return len(self.bits)

    def select(self, rows: NDArray[np.int64]) -> Masks:
        return Masks(self.boxes[rows], self.scores[rows], [self.bits[row] for row in rows.tolist()])

    def region(self, row: int) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
        """The part of the image in a mask's box, and which of its pixels are in the mask."""
        left, top, right, bottom = self.boxes[row].tolist()
        shape = (bottom - top, right - left)
        inside = np.unpackbits(self.bits[row], count=shape[0] * shape[1]).reshape(shape)
        return (slice(top, bottom), slice(left, right)), inside.view(np.bool_)


def _extent(
    dense: NDArray[np.bool_],  # [K, H, W]
    across: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # [K] each
    """The first column (`across` rows) of each mask, or row, and the one after the last."""
    occupied = np.asarray(dense.any(axis=across))
    return occupied.argmax(axis=1), occupied.shape[1] - occupied[:, ::-1].argmax(axis=1)


def stability(logits: Tensor, offset: float) -> Tensor:  # [K, H, W] -> [K]
    """IoU of each mask cut at +offset with itself cut at -offset; NaN where both are empty."""
    inner = (logits > offset).sum(dim=(1, 2))
    outer = (logits > -offset).sum(dim=(1, 2))
    return inner / outer


def touches_crop_edge(
    boxes: NDArray[np.int64],  # [K, 4]
    crop: Crop,
    image_size: tuple[int, int],  # height, width
) -> NDArray[np.bool_]:  # [K]
    """Boxes at an edge of the crop, where the object goes on; edges of the image don't count."""
    edges = np.array([crop.left, crop.top, crop.left + crop.width, crop.top + crop.height])
    ends = np.array([0, 0, image_size[1], image_size[0]])
    at_crop = np.abs(boxes - edges) <= EDGE
    at_image = np.abs(boxes - ends) <= EDGE
    return np.asarray((at_crop & ~at_image).any(axis=1))


def suppress(masks: Masks, iou_threshold: float) -> Masks:
    """The masks whose box is not suppressed by one of higher score, by falling score."""
    boxes = torch.from_numpy(masks.boxes.astype(np.float32))
    kept = nms(boxes, torch.from_numpy(masks.scores), iou_threshold)
    return masks.select(kept.numpy())
