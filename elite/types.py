"""What travels between the parts of the system: a scan, a batch of scans, a network's output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from elite_ops import Segments

__all__ = ["Batch", "Scan", "StageOutput", "StudentOutput"]


@dataclass
class Scan:
    """One revolution of a LiDAR, with whatever else was asked for.

    Attributes:
        points: x, y, z (metres, sensor frame) and remission (0..1).
        labels: learning ids, one per point; 0 is unlabelled.
        instances: one per point; 0 belongs to no instance.
        image: the left colour camera, RGB.
        projection: from homogeneous sensor coordinates to homogeneous pixels of `image`.
        name: sequence and frame, as in "08/000123", or the stem of the file.
    """

    points: NDArray[np.float32]  # [N, 4]
    name: str
    labels: NDArray[np.int64] | None = None  # [N]
    instances: NDArray[np.int64] | None = None  # [N]
    image: NDArray[np.uint8] | None = None  # [H, W, 3]
    projection: NDArray[np.float32] | None = None  # [3, 4]


@dataclass
class Batch:
    """Several scans as one list of points; `batch_index` says which scan a point is of.

    A scan may be empty, so `batch_size` can't be read off `batch_index`.
    """

    points: torch.Tensor  # [N, 4] float32
    batch_index: torch.Tensor  # [N] int64
    batch_size: int
    names: list[str]
    labels: torch.Tensor | None = None  # [N] int64, learning ids

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`; copies from pinned memory don't wait."""
        labels = self.labels
        return replace(
            self,
            points=self.points.to(device, non_blocking=True),
            batch_index=self.batch_index.to(device, non_blocking=True),
            labels=None if labels is None else labels.to(device, non_blocking=True),
        )

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory; torch's data loader calls this."""
        labels = self.labels
        return replace(
            self,
            points=self.points.pin_memory(),
            batch_index=self.batch_index.pin_memory(),
            labels=None if labels is None else labels.pin_memory(),
        )


@dataclass
class StageOutput:
    """The features of one stage on its voxels, and which points each voxel holds."""

    features: torch.Tensor  # [V, C]
    segments: Segments


@dataclass
class StudentOutput:
    """One row of logits per point, and what distillation reads along the way.

    Attributes:
        logits: in the order of the points; rows of points outside the range are 0.
        valid: whether a point lies inside the range.
        stages: voxel features of scales 1, 2, 4 and 8.
    """

    logits: torch.Tensor  # [N, num_classes]
    valid: torch.Tensor  # [N] bool
    stages: list[StageOutput]
