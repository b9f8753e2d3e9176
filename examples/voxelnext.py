"""VoxelNeXt: a detector that stays sparse to the end; voxels, not anchors, predict the objects.

Chen, Liu, Zhang, Qi, Jia: "VoxelNeXt: Fully Sparse VoxelNet for 3D Object Detection and Tracking",
CVPR 2023.

Two more strides than in SECOND, to 1/16 and 1/32, give each voxel a wide view. The voxels of the
last three scales are put onto the grid of 1/8 and summed over the height, which leaves a sparse
image; heads of 2D convolutions on it say at each of its cells how likely an object's centre is
there, and what the object is like.

| what | voxels along x, y, z | channels | cell (m) |
|---|---|---|---|
| `conv1` | 1440, 1440, 41 | 16 | 0.075, 0.075, 0.2 |
| `conv2` | 720, 720, 21 | 32 | 0.15, 0.15, 0.4 |
| `conv3` | 360, 360, 11 | 64 | 0.3, 0.3, 0.8 |
| `conv4` | 180, 180, 6 | 128 | 0.6, 0.6, 1.6 |
| `conv5` | 90, 90, 3 | 128 | 1.2, 1.2, 3.2 |
| `conv6` | 45, 45, 2 | 128 | 2.4, 2.4, 6.4 |
| plane | 180, 180 | 128 | 0.6, 0.6 |

Run it on the synthetic street, or on a scan of SemanticKITTI:

    python examples/voxelnext.py [sequences/00/velodyne/000000.bin]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elite.data.example_scan import example_scan
from elite_ops import SparseTensor, VoxelSet, build_segments, segment_mean, segment_sum, voxelize
from elite_ops import nn as spnn

# Numbers that a head predicts at a cell: scores of 10 classes; the centre's place in the cell; its
# height (m); the logarithms of length, width and height; sine and cosine of the heading; velocity.
HEADS = {"heatmap": 10, "center": 2, "center_z": 1, "dim": 3, "rot": 2, "vel": 2}


@dataclass(frozen=True)
class Grid:
    """The box around the car, and its cells; those of nuScenes by default."""

    point_cloud_range: tuple[float, ...] = (-54.0, -54.0, -5.0, 54.0, 54.0, 3.0)  # metres
    spatial_shape: tuple[int, int, int] = (1440, 1440, 40)  # along x, y, z


def mean_of_points(
    points: Tensor,  # [N, 3 + F] float32: x, y, z (m), and features
    batch_index: Tensor | None = None,  # [N] int64
    *,
    grid: Grid,
    batch_size: int = 1,
) -> SparseTensor:  # [V, 3 + F]
    """The mean of each voxel's points, in a grid with one more layer of cells on top."""
    (voxels,) = voxelize(
        points,
        batch_index,
        point_cloud_range=grid.point_cloud_range,
        spatial_shape=grid.spatial_shape,
        batch_size=batch_size,
    )
    means = segment_mean(points, build_segments(voxels.point_rows, len(voxels)))
    x, y, z = grid.spatial_shape
    return SparseTensor(means, VoxelSet(voxels.indices, (x, y, z + 1), batch_size))


def norm(channels: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)


class ResidualBlock(spnn.SparseModule):
    """Two submanifold convolutions, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = spnn.SubmanifoldConv3d(channels, channels, 3, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = spnn.SubmanifoldConv3d(channels, channels, 3, bias=False)
        self.bn2 = norm(channels)

    def forward(self, x: SparseTensor) -> SparseTensor:
        out = self.conv1(x)
        out = self.conv2(out.replace(torch.relu(self.bn1(out.features))))
        return x.replace(torch.relu(self.bn2(out.features) + x.features))


def stage(c_in: int, c_out: int) -> spnn.SparseSequential:
    """Half as many cells along each axis, and two residual blocks."""
    conv = spnn.SparseConv3d(c_in, c_out, 3, stride=2, padding=1, bias=False)
    down = spnn.SparseSequential(conv, norm(c_out), nn.ReLU())
    return spnn.SparseSequential(down, ResidualBlock(c_out), ResidualBlock(c_out))


def onto_plane(scales: Sequence[SparseTensor]) -> SparseTensor:
    """Sums voxels onto the ground plane of the first scale, each of the others twice as coarse.

    A coarse voxel comes to lie at the lower corner of the cells that it covers.
    """
    rows = []  # batch, y, x: the axes of an image
    for doublings, x in enumerate(scales):
        batch, cell = x.indices[:, :1], x.indices[:, [2, 1]]
        rows.append(torch.cat([batch, cell * 2**doublings], dim=1))
    indices, inverse = torch.unique(torch.cat(rows), dim=0, return_inverse=True)
    segments = build_segments(inverse.int(), len(indices))
    features = segment_sum(torch.cat([x.features for x in scales]), segments)
    size_x, size_y, _ = scales[0].spatial_shape
    return SparseTensor(features, VoxelSet(indices, (size_y, size_x), scales[0].batch_size))


class Head(spnn.SparseModule):
    """A submanifold convolution, and one to the numbers that are predicted."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv = spnn.SparseSequential(
            spnn.SubmanifoldConv2d(channels, channels, 3, bias=False), norm(channels), nn.ReLU()
        )
        self.out = spnn.SubmanifoldConv2d(channels, outputs, 3)

    def forward(self, x: SparseTensor) -> SparseTensor:
        out: SparseTensor = self.out(self.conv(x))
        return out


class VoxelNeXt(nn.Module):
    """The numbers of each head, at each cell of the plane.

    Args:
        in_channels: features of a voxel.
        widths: channels at 1, 1/2, 1/4 and 1/8 of the resolution; the last also at 1/16 and 1/32,
            whose voxels are summed with those of 1/8, and on the plane.
        heads: how many numbers each head predicts.
    """

    def __init__(
        self,
        in_channels: int = 4,
        widths: tuple[int, int, int, int] = (16, 32, 64, 128),
        heads: dict[str, int] | None = None,
    ) -> None:
        super().__init__()
        w1, w2, w3, w4 = widths
        self.conv_input = spnn.SparseSequential(
            spnn.SubmanifoldConv3d(in_channels, w1, 3, bias=False), norm(w1), nn.ReLU()
        )
        self.conv1 = spnn.SparseSequential(ResidualBlock(w1), ResidualBlock(w1))
        self.conv2 = stage(w1, w2)
        self.conv3 = stage(w2, w3)
        self.conv4 = stage(w3, w4)
        self.conv5 = stage(w4, w4)
        self.conv6 = stage(w4, w4)
        self.conv_out = spnn.SparseSequential(  # not submanifold: the plane's voxels grow by a cell
            spnn.SparseConv2d(w4, w4, 3, padding=1, bias=False), norm(w4), nn.ReLU()
        )
        self.shared_conv = spnn.SparseSequential(
            spnn.SubmanifoldConv2d(w4, w4, 3, bias=False), norm(w4), nn.ReLU()
        )
        outputs = HEADS if heads is None else heads
        self.heads = nn.ModuleDict({name: Head(w4, number) for name, number in outputs.items()})

    def scales(self, x: SparseTensor) -> dict[str, SparseTensor]:
        """What each stage makes, the finest first, and the plane with the last three on it."""
        x = self.conv_input(x)
        found = {}
        for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "conv6"):
            x = getattr(self, name)(x)
            found[name] = x
        found["plane"] = onto_plane([found["conv4"], found["conv5"], found["conv6"]])
        return found

    def forward(self, x: SparseTensor) -> dict[str, SparseTensor]:
        plane = self.shared_conv(self.conv_out(self.scales(x)["plane"]))
        return {name: head(plane) for name, head in self.heads.items()}


# ---- a scan ------------------------------------------------------------------------------------


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="VoxelNeXt on one scan")
    parser.add_argument("scan", nargs="?", help="a .bin file; a synthetic scan by default")
    options = parser.parse_args(arguments)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    points = example_scan(options.scan).to(device)
    network = VoxelNeXt().to(device).eval()

    x = mean_of_points(points, grid=Grid())
    print(f"{len(points)} points, {len(x)} voxels")
    for name, scale in network.scales(x).items():
        shape, channels = scale.spatial_shape, scale.features.shape[1]
        print(f"{name:5} {len(scale):6} voxels of {shape}, {channels} channels")
    print(f"{sum(p.numel() for p in network.parameters())} parameters")

    begin = time.perf_counter()
    found = network(mean_of_points(points, grid=Grid()))
    scores = found["heatmap"].features.sigmoid().cpu()  # on a GPU, this waits for it
    seconds = time.perf_counter() - begin
    for name, out in found.items():
        print(f"{name:8} {tuple(out.features.shape)}")
    print(f"highest score of a centre {scores.max():.3f} (of weights of chance)")
    print(f"points to scores {seconds:.3f} s on {device}")


if __name__ == "__main__":
    main()
