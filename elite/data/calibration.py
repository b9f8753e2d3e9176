"""KITTI's calibration file: where a LiDAR point falls in the camera image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elite.errors import EliteError

__all__ = ["read_projection"]


def read_projection(path: Path) -> NDArray[np.float32]:
    """The 3 x 4 matrix P2 @ Tr from homogeneous LiDAR points to homogeneous pixels of image 2.

    The product is taken in float64: its terms are as large as the focal length.
    """
    if not path.is_file():
        raise EliteError(f"{path}: no such file", "A calib.txt lies beside velodyne/.")
    rows = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    camera = _matrix(rows, "P2", path)
    lidar_to_camera = np.vstack([_matrix(rows, "Tr", path), [0, 0, 0, 1]])
    projection: NDArray[np.float64] = camera @ lidar_to_camera
    return projection.astype(np.float32)


def _matrix(rows: dict[str, str], name: str, path: Path) -> NDArray[np.float64]:
    """One 3 x 4 matrix of the file, which writes it as a row of 12 numbers."""
    if name not in rows:
        raise EliteError(f"{path}: there is no row `{name}`")
    try:
        values = np.array([float(word) for word in rows[name].split()])
    except ValueError as error:
        raise EliteError(f"{path}: row `{name}` holds something else than numbers") from error
    if values.size != 12:
        raise EliteError(f"{path}: row `{name}` must hold 12 numbers, got {values.size}")
    return values.reshape(3, 4)
