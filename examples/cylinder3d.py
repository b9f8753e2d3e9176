"""Cylinder3D: cells that grow with the distance, as the gaps between points do.

Zhu et al., Cylindrical and Asymmetrical 3D Convolution Networks for LiDAR Segmentation, CVPR 2021.

    points [N, 4]       x, y, z in metres, remission in 0..1
    partition           their cells along radius (m), angle (rad) and height (m), V of which are
                        occupied, and what describes each point in its cell: [N, 9]
    point network       an MLP on each point [N, 256]; the maximum over each cell [V, 16]
    cell network        a U-Net of asymmetric blocks, whose kernels 1x3x3 and 3x1x3 suit upright
                        things, and a context block [V, 4 * width]
    refinement          cells and points together: logits of points [N, classes]

    python examples/cylinder3d.py [scan.bin]    # a scan of SemanticKITTI; else a synthetic one

In the paper's training, logits of cells have a loss of their own; both are returned. Angles end at
-pi and pi: as in the paper, no kernel reaches across.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import elite_ops
from elite.data.example_scan import example_scan
from elite_ops import SparseTensor, Voxels
from elite_ops import nn as spnn

CYLINDER = (0.0, -math.pi, -4.0, 50.0, math.pi, 2.0)  # lowest and highest radius, angle, height
SHAPE = (480, 360, 32)  # cells along them
POINT_FEATURES = 9


def partition(
    points: Tensor,  # [N, 4] float32
    batch_index: Tensor | None = None,  # [N] int64
    shape: tuple[int, int, int] = SHAPE,
) -> tuple[Tensor, Voxels]:
    """What describes each point, [N, 9], and the cells. Points outside belong to the nearest cell.

    A point is where it is in its cell, its radius, angle and height, its x and y, its remission.
    """
    x, y, z, remission = points.unbind(1)
    place = torch.stack([torch.hypot(x, y), torch.atan2(y, x), z], 1)
    low, high = points.new_tensor(CYLINDER).view(2, 3)
    inside = place.clamp(torch.nextafter(low, high), torch.nextafter(high, low))
    (voxels,) = elite_ops.voxelize(
        inside, batch_index, point_cloud_range=CYLINDER, spatial_shape=shape
    )
    cell = voxels.indices[voxels.point_rows, 1:]
    centre = low + (cell + 0.5) * (high - low) / low.new_tensor(shape)
    others = torch.stack([x, y, remission], 1)
    return torch.cat([place - centre, place, others], 1), voxels


def normed(conv: nn.Module, channels: int) -> spnn.SparseSequential:
    return spnn.SparseSequential(conv, nn.BatchNorm1d(channels), nn.LeakyReLU())


def unit(in_channels: int, out_channels: int, kernel: int | tuple[int, ...]) -> nn.Module:
    conv = spnn.SubmanifoldConv3d(in_channels, out_channels, kernel, bias=False)
    return normed(conv, out_channels)


class AsymmetricBlock(spnn.SparseModule):
    """Two kernels in both orders, added up: two thirds of the products of a 3x3x3 residual."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        c_in, c_out = in_channels, out_channels
        self.first = spnn.SparseSequential(
            unit(c_in, c_out, (1, 3, 3)), unit(c_out, c_out, (3, 1, 3))
        )
        self.second = spnn.SparseSequential(
            unit(c_in, c_out, (3, 1, 3)), unit(c_out, c_out, (1, 3, 3))
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        out: SparseTensor = self.first(x) + self.second(x)
        return out


class Down(nn.Module):
    """A block, whose result is the skip connection, and a strided convolution."""

    def __init__(self, in_channels: int, out_channels: int, stride: int | tuple[int, ...]) -> None:
        super().__init__()
        self.block = AsymmetricBlock(in_channels, out_channels)
        self.pool = spnn.SparseConv3d(
            out_channels, out_channels, 3, stride=stride, padding=1, bias=False
        )

    def forward(self, x: SparseTensor) -> tuple[SparseTensor, SparseTensor]:
        fine = self.block(x)
        return self.pool(fine), fine


class Up(nn.Module):
    """The way back to the cells of the skip connection, which is added, and a block."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.enter = unit(in_channels, out_channels, 3)
        self.unpool = spnn.SparseInverseConv3d(out_channels, out_channels, 3, bias=False)
        self.block = AsymmetricBlock(out_channels, out_channels)

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        out: SparseTensor = self.block(self.unpool(self.enter(x)) + skip)
        return out


class ContextBlock(spnn.SparseModule):
    """A gate for each cell and channel, of rank 1: the sum of one kernel along each axis."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.axes = nn.ModuleList(
            spnn.SparseSequential(
                spnn.SubmanifoldConv3d(channels, channels, kernel, bias=False),
                nn.BatchNorm1d(channels),
                nn.Sigmoid(),
            )
            for kernel in ((3, 1, 1), (1, 3, 1), (1, 1, 3))
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        radius, angle, height = (axis(x).features for axis in self.axes)
        return x.replace((radius + angle + height) * x.features)


class CellNetwork(spnn.SparseModule):
    """The U-Net: the height is halved twice, radius and angle four times."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        w = [width * 2**i for i in range(5)]
        self.enter = AsymmetricBlock(in_channels, w[0])
        strides = (2, 2, (2, 2, 1), (2, 2, 1))
        self.down = nn.ModuleList(Down(w[i], w[i + 1], strides[i]) for i in range(4))
        ups = [(w[4], w[4]), (w[4], w[3]), (w[3], w[2]), (w[2], w[1])]
        self.up = nn.ModuleList(Up(c_in, c_out) for c_in, c_out in ups)
        self.context = ContextBlock(w[1])

    def forward(self, x: SparseTensor) -> SparseTensor:
        x, skips = self.enter(x), []
        for down in self.down:
            x, fine = down(x)
            skips.append(fine)
        for up in self.up:
            x = up(x, skips.pop())
        return elite_ops.cat([self.context(x), x])


class Cylinder3D(nn.Module):
    """Logits of points and of cells, from what `partition` returns."""

    def __init__(self, num_classes: int = 20, width: int = 32, cell_channels: int = 16) -> None:
        super().__init__()
        wide = 4 * width
        self.points = nn.Sequential(
            nn.BatchNorm1d(POINT_FEATURES),
            *(nn.Linear(POINT_FEATURES, 64), nn.BatchNorm1d(64), nn.ReLU()),
            *(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU()),
            nn.Linear(128, 256),
        )
        self.compress = nn.Sequential(nn.Linear(256, cell_channels), nn.ReLU())
        self.cells = CellNetwork(cell_channels, width)
        self.cell_head = spnn.SubmanifoldConv3d(wide, num_classes, 3)
        self.refine = nn.Sequential(
            *(nn.Linear(256 + wide, wide), nn.BatchNorm1d(wide), nn.ReLU()),
            nn.Linear(wide, num_classes),
        )

    def forward(
        self,
        features: Tensor,  # [N, 9]
        voxels: Voxels,
    ) -> tuple[Tensor, Tensor]:  # [N, classes], [V, classes]
        segments = elite_ops.build_segments(voxels.point_rows, len(voxels))
        points = self.points(features)
        cells = self.compress(elite_ops.segment_max(points, segments))
        x = self.cells(SparseTensor(cells, voxels))
        around = elite_ops.voxel_to_point(x.features, segments)
        return self.refine(torch.cat([points, around], 1)), self.cell_head(x).features


def main(arguments: Sequence[str] | None = None) -> Tensor:  # [N]
    """Labels a scan with weights of chance."""
    parser = argparse.ArgumentParser(description="Cylinder3D on one scan")
    parser.add_argument("scan", nargs="?", help="a .bin file; a synthetic scan by default")
    path = parser.parse_args(arguments).scan

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    points = example_scan(path).to(device)
    network = Cylinder3D().to(device)
    number = sum(p.numel() for p in network.parameters())
    network = spnn.fold(network.eval())  # norms and activations into convolutions
    began = time.perf_counter()
    with torch.inference_mode():
        features, voxels = partition(points)
        logits, cell_logits = network(features, voxels)
        labels: Tensor = logits.argmax(1).cpu()  # which waits for the device
    seconds = time.perf_counter() - began
    print(f"points {tuple(points.shape)}, described by {tuple(features.shape)}")
    print(f"cells {tuple(voxels.indices.shape)} of {SHAPE}, logits {tuple(cell_logits.shape)}")
    print(f"labels {tuple(labels.shape)} from logits {tuple(logits.shape)}")
    print(f"{number / 1e6:.1f} million parameters, {seconds:.2f} s on {device}")
    return labels


if __name__ == "__main__":
    main()
