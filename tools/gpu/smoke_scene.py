"""What the ops are tried on: a thousand points that are always there, and a scan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from workloads import POINT_CLOUD_RANGE, SPATIAL_SHAPE, scan

from elite_ops import KernelMap, Segments, Voxels, build_segments, voxelize

__all__ = ["CLASSES", "SCALES", "SCENES", "Scene", "integers", "numbers"]

SCALES = (1, 2, 4)
CLASSES = 20


def numbers(dtype: torch.dtype, *shape: int, seed: int = 0) -> Tensor:
    """Multiples of 1/128 within [-2, 2]: every floating dtype holds them exactly."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randint(-256, 257, shape, generator=generator) / 128).to(dtype)


def integers(high: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Scene:
    """Points and what follows from them, on the CPU."""

    name: str
    points: Tensor  # [N, 4] float32
    point_cloud_range: tuple[float, ...]
    spatial_shape: tuple[int, int, int]

    @cached_property
    def voxels(self) -> list[Voxels]:
        return voxelize(
            self.points,
            point_cloud_range=self.point_cloud_range,
            spatial_shape=self.spatial_shape,
            scales=SCALES,
            kernel_size=3,
        )

    @property
    def kernel_map(self) -> KernelMap:
        return self.voxels[0].submanifold_map()

    @cached_property
    def segments(self) -> list[Segments]:
        return [build_segments(v.point_rows, len(v.indices)) for v in self.voxels]

    @cached_property
    def labels(self) -> Tensor:  # [N] int64: by height, so that neighbours agree
        return ((self.points[:, 2] + 4) * 3).nan_to_num().long().clamp(0, CLASSES - 1)


def small() -> Scene:
    """So close together that voxels have neighbours; every eleventh point is outside."""
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(1023, 4, generator=generator) * torch.tensor([8.0, 8.0, 2.0, 1.0])
    points[::11, 0] = 9.0
    return Scene("small", points, (0.0, 0.0, 0.0, 8.0, 8.0, 2.0), (40, 40, 9))


def from_scan() -> Scene:
    """A real scan where there is one, else the synthetic street."""
    return Scene("scan", scan()[1], POINT_CLOUD_RANGE, SPATIAL_SHAPE)


SCENES = {"small": small, "scan": from_scan}
