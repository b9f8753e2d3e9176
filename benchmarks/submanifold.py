"""What every contestant computes: a 3 x 3 x 3 submanifold convolution on the voxels of scans."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from precision import PRECISIONS, Precision
from torch import Tensor
from workloads import POINT_CLOUD_RANGE, SPATIAL_SHAPE, scan, scans

from elite_ops import Voxels, voxelize
from elite_ops.reference.kernel_map import build_kernel_map
from elite_ops.reference.sparse_conv import sparse_conv

__all__ = [
    "Submanifold",
    "Truth",
    "scan_with_kernel_map",
    "submanifold",
    "truth",
    "voxels_of_scans",
]


@dataclass(frozen=True, eq=False)
class Submanifold:
    """The convolution, its inputs, and what it costs at least."""

    workload: str
    indices: Tensor  # [V, 4] int32: batch, x, y, z; sorted
    spatial_shape: tuple[int, int, int]
    batch_size: int
    precision: Precision
    features: Tensor  # [V, C]
    weight: Tensor  # [27, C, C], offsets in the order of `elite_ops.build_kernel_map`
    grad_out: Tensor  # [V, C]
    pairs: int

    @property
    def flop(self) -> int:
        """Of the forward pass; the backward pass has twice as many."""
        return 2 * self.pairs * self.weight.shape[1] * self.weight.shape[2]

    @property
    def forward_bytes(self) -> int:
        """Every input and output once, the neighbour table with four bytes an entry."""
        table = 27 * 4 * len(self.indices)
        return 2 * self.features.nbytes + self.weight.nbytes + table

    @property
    def backward_bytes(self) -> int:
        table = 27 * 4 * len(self.indices)
        return 3 * self.features.nbytes + 2 * self.weight.nbytes + table


@dataclass(frozen=True, eq=False)
class Truth:
    """The same in float64, by the definitions in plain PyTorch."""

    neighbors: Tensor  # [27, V] int32
    out: Tensor
    grad_features: Tensor
    grad_weight: Tensor


@lru_cache(maxsize=4)
def voxels_of_scans(
    device: torch.device, batch: int, scale: int = 1
) -> tuple[str, Tensor, tuple[int, int, int]]:
    """A name, the voxels of `batch` scans at a scale (int32 [V, 4]), and their grid."""
    name, points, batch_index = scans(batch)
    (voxels,) = voxelize(
        points.to(device),
        batch_index.to(device),
        point_cloud_range=POINT_CLOUD_RANGE,
        spatial_shape=SPATIAL_SHAPE,
        scales=(scale,),
        batch_size=batch,
    )
    return name, voxels.indices, voxels.spatial_shape


@lru_cache(maxsize=1)
def scan_with_kernel_map(device: torch.device, scale: int) -> tuple[str, Voxels]:
    """A name, and the voxels of one scan with their 3 x 3 x 3 kernel map."""
    name, points = scan()
    (voxels,) = voxelize(
        points.to(device),
        point_cloud_range=POINT_CLOUD_RANGE,
        spatial_shape=SPATIAL_SHAPE,
        scales=(scale,),
        kernel_size=3,
    )
    return name, voxels


@lru_cache(maxsize=1)
def submanifold(
    device: torch.device, channels: int, batch: int, precision: str, scale: int = 1
) -> Submanifold:
    """Random features and weights on real voxels; outputs have a spread of about one."""
    name, indices, shape = voxels_of_scans(device, batch, scale)
    rounding = PRECISIONS[precision]
    generator = torch.Generator().manual_seed(0)

    def random(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(device, rounding.dtype)

    neighbors = build_kernel_map(indices, spatial_shape=shape, batch_size=batch).in_rows
    return Submanifold(
        workload=name,
        indices=indices,
        spatial_shape=shape,
        batch_size=batch,
        precision=rounding,
        features=random(len(indices), channels),
        weight=random(27, channels, channels) / (8 * channels) ** 0.5,
        grad_out=random(len(indices), channels),
        pairs=int((neighbors >= 0).sum()),
    )


@lru_cache(maxsize=1)
def truth(case: Submanifold) -> Truth:
    kernel_map = build_kernel_map(
        case.indices, spatial_shape=case.spatial_shape, batch_size=case.batch_size
    )
    features = case.features.double().requires_grad_()
    weight = case.weight.double().requires_grad_()
    out = sparse_conv(features, weight, kernel_map)
    gradients = torch.autograd.grad(out, (features, weight), case.grad_out.double())
    return Truth(kernel_map.in_rows, out.detach(), *gradients)
