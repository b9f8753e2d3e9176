"""SECOND: from points to a bird's-eye map, the sparse half of a one-stage detector.

Yan, Mao, Li: "SECOND: Sparsely Embedded Convolutional Detection", Sensors 2018.

Points are averaged in small voxels. Four stages of submanifold convolutions, with a strided one
between two of them, make the grid eight times coarser; a last convolution halves its height, and
what is left of the height becomes channels of an image, which dense 2D layers take from there.

| what | voxels along x, y, z | channels | cell (m) |
|---|---|---|---|
| `conv_input`, `conv1` | 1408, 1600, 41 | 16 | 0.05, 0.05, 0.1 |
| `conv2` | 704, 800, 21 | 32 | 0.1, 0.1, 0.2 |
| `conv3` | 352, 400, 11 | 64 | 0.2, 0.2, 0.4 |
| `conv4` | 176, 200, 5 | 64 | 0.4, 0.4, 0.8 |
| `conv_out` | 176, 200, 2 | 128 | 0.4, 0.4, 1.6 |
| map | [B, 128 * 2, 176, 200] | | |

Run it on the synthetic street, or on a scan of SemanticKITTI:

    python examples/second.py [sequences/00/velodyne/000000.bin] [--dynamic]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elite.data.example_scan import example_scan
from elite_ops import (
    SparseTensor,
    VoxelSet,
    build_segments,
    hard_voxelize,
    segment_mean,
    voxelize,
)
from elite_ops import nn as spnn


@dataclass(frozen=True)
class Grid:
    """The box in front of the car, and its cells; KITTI's by default."""

    point_cloud_range: tuple[float, ...] = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)  # metres
    spatial_shape: tuple[int, int, int] = (1408, 1600, 40)  # along x, y, z

    def with_roof(self) -> tuple[int, int, int]:
        """One more layer of cells on top: 41 become 21, 11, 5 and 2, and no voxel is cut off."""
        x, y, z = self.spatial_shape
        return x, y, z + 1


# ---- from points to voxels ---------------------------------------------------------------------


def mean_of_first_points(
    points: Tensor,  # [N, 3 + F] float32: x, y, z (m), and features
    batch_index: Tensor | None = None,  # [N] int64
    *,
    grid: Grid,
    batch_size: int = 1,
    max_points: int = 5,
    max_voxels: int = 40_000,
) -> SparseTensor:  # [V, 3 + F]
    """Hard voxelization, as in the paper: the first points of the first voxels of each sample."""
    voxels = hard_voxelize(
        points,
        batch_index,
        point_cloud_range=grid.point_cloud_range,
        spatial_shape=grid.spatial_shape,
        max_points=max_points,
        max_voxels=max_voxels,
        batch_size=batch_size,
    )
    means = voxels.points.sum(dim=1) / voxels.counts.unsqueeze(1)  # unused slots hold 0
    return SparseTensor(means, VoxelSet(voxels.indices, grid.with_roof(), batch_size))


def mean_of_all_points(
    points: Tensor,  # [N, 3 + F] float32
    batch_index: Tensor | None = None,  # [N] int64
    *,
    grid: Grid,
    batch_size: int = 1,
) -> SparseTensor:  # [V, 3 + F]
    """Dynamic voxelization: no limits, nothing is dropped, and the voxels are sorted."""
    (voxels,) = voxelize(
        points,
        batch_index,
        point_cloud_range=grid.point_cloud_range,
        spatial_shape=grid.spatial_shape,
        batch_size=batch_size,
    )
    means = segment_mean(points, build_segments(voxels.point_rows, len(voxels)))
    return SparseTensor(means, VoxelSet(voxels.indices, grid.with_roof(), batch_size))


# ---- the network -------------------------------------------------------------------------------


def normed(conv: spnn.SubmanifoldConv3d | spnn.SparseConv3d) -> spnn.SparseSequential:
    norm = nn.BatchNorm1d(conv.out_channels, eps=1e-3, momentum=0.01)
    return spnn.SparseSequential(conv, norm, nn.ReLU())


def submanifold(c_in: int, c_out: int) -> spnn.SparseSequential:
    """The voxels stay as they are. Layers on the same voxels share their kernel map."""
    return normed(spnn.SubmanifoldConv3d(c_in, c_out, 3, bias=False))


def strided(c_in: int, c_out: int, padding: tuple[int, int, int]) -> spnn.SparseSequential:
    """Half as many cells along each axis; occupied are those that any voxel reaches."""
    return normed(spnn.SparseConv3d(c_in, c_out, 3, stride=2, padding=padding, bias=False))


class Second(nn.Module):
    """The sparse middle encoder. Layers have the names that OpenPCDet gives them.

    Args:
        in_channels: features of a voxel.
        widths: channels at 1, 1/2, 1/4 and 1/8 of the resolution.
        out_channels: channels of each of the two layers of cells that become an image.
    """

    def __init__(
        self,
        in_channels: int = 4,
        widths: tuple[int, int, int, int] = (16, 32, 64, 64),
        out_channels: int = 128,
    ) -> None:
        super().__init__()
        w1, w2, w3, w4 = widths
        self.conv_input = submanifold(in_channels, w1)
        self.conv1 = spnn.SparseSequential(submanifold(w1, w1))
        self.conv2 = spnn.SparseSequential(
            strided(w1, w2, padding=(1, 1, 1)), submanifold(w2, w2), submanifold(w2, w2)
        )
        self.conv3 = spnn.SparseSequential(
            strided(w2, w3, padding=(1, 1, 1)), submanifold(w3, w3), submanifold(w3, w3)
        )
        self.conv4 = spnn.SparseSequential(
            strided(w3, w4, padding=(1, 1, 0)), submanifold(w4, w4), submanifold(w4, w4)
        )
        self.conv_out = normed(
            spnn.SparseConv3d(w4, out_channels, (1, 1, 3), stride=(1, 1, 2), bias=False)
        )

    def scales(self, x: SparseTensor) -> dict[str, SparseTensor]:
        """What each stage makes, the finest first: two-stage detectors read them too."""
        x = self.conv_input(x)
        found = {}
        for name in ("conv1", "conv2", "conv3", "conv4", "conv_out"):
            x = getattr(self, name)(x)
            found[name] = x
        return found

    def forward(self, x: SparseTensor) -> Tensor:  # [B, 2 * out_channels, X / 8, Y / 8]
        return self.scales(x)["conv_out"].bev()


# ---- a scan ------------------------------------------------------------------------------------


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="SECOND's sparse encoder on one scan")
    parser.add_argument("scan", nargs="?", help="a .bin file; a synthetic scan by default")
    parser.add_argument("--dynamic", action="store_true", help="average all points of a voxel")
    options = parser.parse_args(arguments)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    points = example_scan(options.scan).to(device)
    encode = mean_of_all_points if options.dynamic else mean_of_first_points
    network = Second().to(device).eval()

    x = encode(points, grid=Grid())
    print(f"{len(points)} points, {len(x)} voxels")
    for name, scale in network.scales(x).items():
        channels = scale.features.shape[1]
        print(f"{name:9} {len(scale):6} voxels of {scale.spatial_shape}, {channels} channels")
    print(f"{sum(p.numel() for p in network.parameters())} parameters")

    begin = time.perf_counter()
    bev = network(encode(points, grid=Grid())).cpu()  # on a GPU, this waits for it
    seconds = time.perf_counter() - begin
    print(f"bird's-eye map {tuple(bev.shape)}, {(bev != 0).float().mean():.1%} not zero")
    print(f"points to map {seconds:.3f} s on {device}")


if __name__ == "__main__":
    main()
