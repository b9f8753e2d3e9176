"""What the benchmarks run on: real scans where there are any, else the synthetic street."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch

from elite.data.street import Street

DATA = Path(os.environ.get("ELITE_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL_SCAN = DATA / "semantickitti/sequences/00/velodyne/000000.bin"

POINT_CLOUD_RANGE = (-50.0, -50.0, -4.0, 50.0, 50.0, 2.0)  # metres
SPATIAL_SHAPE = (1000, 1000, 60)
SCALES = (1, 2, 4, 8, 16)


@cache
def scan() -> tuple[str, torch.Tensor]:
    """A name and one scan: float32 [N, 4], x y z remission."""
    if not REAL_SCAN.exists():
        return "synthetic street (no real scan)", torch.from_numpy(Street(0).frame(0).points)
    points = np.fromfile(REAL_SCAN, dtype="<f4").reshape(-1, 4)
    return "real scan (SemanticKITTI 00/000000)", torch.from_numpy(points)


@cache
def scan_voxels(voxel_size: float) -> tuple[str, torch.Tensor, int]:
    """A name, the voxel of each point of the scan (int32 [N], -1 outside), the number of voxels."""
    name, points = scan()
    bounds = torch.tensor(POINT_CLOUD_RANGE)
    xyz = points[:, :3]
    is_inside = ((xyz > bounds[:3]) & (xyz < bounds[3:])).all(1)
    cells = torch.floor((xyz[is_inside] - bounds[:3]) / voxel_size).int()
    voxels, rows = torch.unique(cells, dim=0, return_inverse=True)
    inverse = torch.full((len(points),), -1, dtype=torch.int32)
    inverse[is_inside] = rows.int()
    return f"{name}, voxels of {voxel_size} m", inverse, len(voxels)
