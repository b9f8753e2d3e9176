"""The binary files of the SemanticKITTI layout: points, labels and predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elite.errors import EliteError
from elite.files import replacing

__all__ = ["PointFormat", "read_labels", "read_points", "write_labels", "write_points"]

LABEL_BYTES = 4  # little-endian uint32: semantic id in the low 16 bits, instance in the high 16


@dataclass(frozen=True)
class PointFormat:
    """A .bin file of little-endian float32 columns, the first of which are x, y, z and remission.

    Attributes:
        columns: how many there are; those after the fourth are not read.
        remission_scale: what remission is multiplied with, so that it spans about 0 to 1.
    """

    columns: int = 4
    remission_scale: float = 1.0

    @property
    def point_bytes(self) -> int:
        return 4 * self.columns


KITTI = PointFormat()


def read_points(path: Path, format: PointFormat = KITTI) -> NDArray[np.float32]:
    """Reads a velodyne .bin file: x, y, z (metres) and remission, [N, 4]."""
    size = _size(path)
    if size % format.point_bytes:
        raise EliteError(
            f"{path}: {size} bytes are not a whole number of points of {format.point_bytes} bytes",
            "A point is x, y, z and remission as little-endian float32, unless the data set's YAML "
            "says something else (`points`).",
        )
    columns = np.fromfile(path, dtype="<f4").reshape(-1, format.columns)[:, :4]
    points = np.ascontiguousarray(columns, dtype=np.float32)
    if format.remission_scale != 1.0:
        points[:, 3] *= np.float32(format.remission_scale)
    return points


def write_points(path: Path, points: NDArray[np.float32]) -> None:
    """Writes a velodyne .bin file, completely or not at all."""
    with replacing(path) as temporary:
        points.astype("<f4", copy=False).tofile(temporary)


def read_labels(path: Path, num_points: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Reads a .label file: raw semantic ids and instance ids, both [num_points]."""
    size = _size(path)
    if size != num_points * LABEL_BYTES:
        raise EliteError(
            f"{path}: {size} bytes are {size / LABEL_BYTES:g} labels, but the scan has "
            f"{num_points} points"
        )
    packed = np.fromfile(path, dtype="<u4").astype(np.uint32, copy=False)
    return packed & np.uint32(0xFFFF), packed >> np.uint32(16)


def write_labels(
    path: Path,
    raw_labels: NDArray[np.uint32],  # [N]
    instances: NDArray[np.uint32] | None = None,  # [N]
) -> None:
    """Writes a .label file of raw ids, completely or not at all."""
    packed = raw_labels.astype(np.uint32)
    if instances is not None:
        packed |= instances.astype(np.uint32) << np.uint32(16)
    with replacing(path) as temporary:
        packed.astype("<u4", copy=False).tofile(temporary)


def _size(path: Path) -> int:
    if not path.is_file():
        raise EliteError(f"{path}: no such file")
    return path.stat().st_size
