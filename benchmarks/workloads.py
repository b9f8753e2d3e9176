"""What the benchmarks run on: real scans where there are any, else the synthetic street."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch

from elite.data import DatasetSpec, read_labels
from elite.data.street import Street

DATA = Path(os.environ.get("ELITE_DATA", Path(__file__).parents[2] / "shared" / "data"))
REAL_SCANS = [
    ("SemanticKITTI 00/000000", DATA / "semantickitti/sequences/00/velodyne/000000.bin"),
    ("SemanticKITTI 00/000001", DATA / "semantickitti/sequences/00/velodyne/000001.bin"),
    ("SemanticKITTI 00/000002", DATA / "semantickitti/sequences/00/velodyne/000002.bin"),
    ("KITTI", DATA / "kitti/sequences/90/velodyne/000000.bin"),
]

POINT_CLOUD_RANGE = (-50.0, -50.0, -4.0, 50.0, 50.0, 2.0)  # metres
SPATIAL_SHAPE = (1000, 1000, 60)
SCALES = (1, 2, 4, 8, 16)


class _Limit:
    """How many points of a scan are used: all, unless a test of the benchmarks wants few."""

    points: int | None = None


def limit_points(points: int | None) -> None:
    _Limit.points = points


@cache
def scan(number: int = 0) -> tuple[str, torch.Tensor]:
    """A name and one of four scans: float32 [N, 4], x y z remission."""
    name, path = REAL_SCANS[number]
    if path.exists():
        points = np.fromfile(path, dtype="<f4").reshape(-1, 4)
        return f"real scan ({name})", torch.from_numpy(points)[: _Limit.points]
    points = Street(0).frame(number).points
    return "synthetic street (no real scan)", torch.from_numpy(points)[: _Limit.points]


@cache
def scans(batch: int) -> tuple[str, torch.Tensor, torch.Tensor]:
    """A name, the points of `batch` scans (float32 [N, 4]) and the scan of each (int64 [N])."""
    names, points = zip(*(scan(number) for number in range(batch)), strict=True)
    sizes = torch.tensor([len(p) for p in points])
    name = names[0] if batch == 1 else f"{batch} scans, the first: {names[0]}"
    return name, torch.cat(points), torch.arange(batch).repeat_interleave(sizes)


@cache
def scan_labels(number: int) -> torch.Tensor:
    """Learning ids of the points of `scan(number)`, int64 [N]."""
    path = REAL_SCANS[number][1]
    if path.exists():
        num_points = path.stat().st_size // 16  # x y z remission
        raw, _ = read_labels(path.parents[1] / "labels" / f"{path.stem}.label", num_points)
    else:
        raw = Street(0).frame(number).labels & np.uint32(0xFFFF)
    labels = DatasetSpec.load("semantic_kitti").to_learning(raw)
    return torch.from_numpy(labels)[: _Limit.points]


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
