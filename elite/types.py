"""What travels between the parts of the system: a scan, a batch of scans, a network's output."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from elite_ops import Segments

__all__ = ["Batch", "CameraBatch", "Scan", "StageOutput", "StudentOutput"]


@dataclass
class Scan:
    """One revolution of a LiDAR, with whatever else was asked for.

    Attributes:
        points: x, y, z (metres, sensor frame) and remission (0..1).
        labels: learning ids, one per point; 0 is unlabelled.
        instances: one per point; 0 belongs to no instance.
        image: the left colour camera, RGB.
        projection: from homogeneous sensor coordinates to homogeneous pixels of `image`.
        pseudo_labels: learning ids of the pixels of `image`; 0 is unlabelled.
        pixel: (row, col) of `image` that shows each point, (-1, -1) for none. It stays true when
            the points are moved, which `projection` alone does not: what lies behind the sensor
            can't be told afterwards.
        name: sequence and frame, as in "08/000123", or the stem of the file.
    """

    points: NDArray[np.float32]  # [N, 4]
    name: str
    labels: NDArray[np.int64] | None = None  # [N]
    instances: NDArray[np.int64] | None = None  # [N]
    image: NDArray[np.uint8] | None = None  # [H, W, 3]
    projection: NDArray[np.float32] | None = None  # [3, 4]
    pseudo_labels: NDArray[np.int64] | None = None  # [H, W]
    pixel: NDArray[np.int32] | None = None  # [N, 2]

    def take(self, rows: NDArray[Any]) -> Scan:
        """The same scan with some of its points, given by number or by a mask."""
        return replace(
            self,
            points=self.points[rows],
            labels=None if self.labels is None else self.labels[rows],
            instances=None if self.instances is None else self.instances[rows],
            pixel=None if self.pixel is None else self.pixel[rows],
        )


@dataclass
class CameraBatch:
    """The cropped images of a batch, and the points that they show.

    Attributes:
        images: RGB, 0..255, padded with 0; of the scans that have one, in their order.
        pixel: (row, col) in the crop.
        point_index: row of `Batch.points` of each such point.
        image_index: which image shows it.
        pseudo_labels: learning ids of the images' pixels; 0 is unlabelled.
    """

    images: torch.Tensor  # [I, 3, H, W] uint8
    pixel: torch.Tensor  # [P, 2] int32
    point_index: torch.Tensor  # [P] int64
    image_index: torch.Tensor  # [P] int64
    pseudo_labels: torch.Tensor | None = None  # [I, H, W] int64

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.images.shape[2], self.images.shape[3]


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
    camera: CameraBatch | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on `device`; copies from pinned memory don't wait."""
        moved: Batch = _map_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))
        return moved

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory; torch's data loader calls this."""
        pinned: Batch = _map_tensors(self, lambda tensor: tensor.pin_memory())
        return pinned


def _map_tensors(part: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """`part`, a dataclass or one of its values, with every tensor in it changed."""
    import torch

    if isinstance(part, torch.Tensor):
        return change(part)
    if is_dataclass(part) and not isinstance(part, type):
        values = {f.name: _map_tensors(getattr(part, f.name), change) for f in fields(part)}
        return replace(part, **values)
    return part


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
