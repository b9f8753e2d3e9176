"""MinkUNet and SPVCNN: a U-Net on voxels, and the same with a branch of points beside it.

Choy et al., 4D Spatio-Temporal ConvNets: Minkowski Convolutional Neural Networks, CVPR 2019.
Tang et al., Searching Efficient 3D Architectures with Sparse Point-Voxel Convolution, ECCV 2020.

    points [N, 4]       x, y, z in metres, remission in 0..1
    voxels              their mean in each of the V voxels of 0.05 m [V, 4], and the voxels of
                        twice, 4, 8 and 16 times that size, in which they lie
    MinkUNet            halves the grid four times and comes back: logits of voxels [V, classes]
    SPVCNN              keeps a row for each point as well [N, C], which no grid coarsens; four
                        times the branches meet: points read the voxels around them, weighted by
                        nearness, and voxels take the mean of their points. Logits [N, classes]

    python examples/spvcnn.py [scan.bin]    # a scan of SemanticKITTI; else a synthetic one

Nearness is that to the centres of voxels; torchsparse takes it to their lowest corners.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import elite_ops
from elite.data.example_scan import example_scan
from elite_ops import SparseTensor
from elite_ops import nn as spnn

BOX = (-51.2, -51.2, -4.0, 51.2, 51.2, 2.4)  # x, y, z of the lowest and the highest corner (m)
SHAPE = (2048, 2048, 128)  # voxels of 0.05 m; multiples of 16, so that halves are whole
STRIDES = (1, 2, 4, 8, 16)
WIDTHS = (32, 32, 64, 128, 256, 256, 128, 96, 96)  # channels: stem, four down, four up


class Scans:
    """Points and their voxels of every stride, those of a U-Net with strides of 2, row by row.

    Points outside the box are in no voxel, and read zeros.
    """

    def __init__(
        self,
        points: Tensor,  # [N, 4] float32
        batch_index: Tensor | None = None,  # [N] int64
        box: Sequence[float] = BOX,
        shape: Sequence[int] = SHAPE,
    ) -> None:
        self.points, self.batch_index, self.box = points, batch_index, box
        voxels = elite_ops.voxelize(
            points,
            batch_index,
            point_cloud_range=box,
            spatial_shape=shape,
            scales=STRIDES,
            nested=True,  # a voxel is eight finer ones, as of convolutions of size and stride 2
        )
        self.voxels = voxels[0]
        rows, numbers = [v.point_rows for v in voxels], [len(v) for v in voxels]
        segments = elite_ops.build_all_segments(rows, numbers)
        self.segments = {v.spatial_shape: s for v, s in zip(voxels, segments, strict=True)}

    def voxelize(self, features: Tensor) -> SparseTensor:
        """The mean of the points in each of the finest voxels."""
        means = elite_ops.segment_mean(features, self.segments[self.voxels.spatial_shape])
        return SparseTensor(means, self.voxels)

    def onto(self, x: SparseTensor, features: Tensor) -> SparseTensor:
        """The mean of the points in each voxel of x."""
        return x.replace(elite_ops.segment_mean(features, self.segments[x.spatial_shape]))

    def read(self, x: SparseTensor) -> Tensor:  # [N, C]
        """The voxels of x around each point, weighted by nearness."""
        return elite_ops.devoxelize(
            x.features, x.voxels, self.points, self.batch_index, point_cloud_range=self.box
        )


def normed(conv: nn.Module, channels: int) -> spnn.SparseSequential:
    return spnn.SparseSequential(conv, nn.BatchNorm1d(channels), nn.ReLU())


def unit(in_channels: int, out_channels: int) -> nn.Module:
    return normed(spnn.SubmanifoldConv3d(in_channels, out_channels, 3, bias=False), out_channels)


class Residual(spnn.SparseModule):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = unit(in_channels, out_channels)
        self.second = spnn.SparseSequential(
            spnn.SubmanifoldConv3d(out_channels, out_channels, 3, bias=False),
            nn.BatchNorm1d(out_channels),
        )
        self.shortcut = spnn.SparseSequential()
        if in_channels != out_channels:
            self.shortcut.append(
                spnn.SubmanifoldConv3d(in_channels, out_channels, 1, bias=False)
            ).append(nn.BatchNorm1d(out_channels))

    def forward(self, x: SparseTensor) -> SparseTensor:
        out: SparseTensor = self.second(self.first(x)) + self.shortcut(x)
        return out.replace(out.features.relu())


class Up(nn.Module):
    """Back to the voxels before a strided convolution, joined with what was there."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        conv = spnn.SparseInverseConv3d(in_channels, out_channels, 2, bias=False)
        self.unpool = normed(conv, out_channels)
        self.blocks = spnn.SparseSequential(
            Residual(out_channels + skip_channels, out_channels),
            Residual(out_channels, out_channels),
        )

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        out: SparseTensor = self.blocks(elite_ops.cat([self.unpool(x), skip]))
        return out


def down(in_channels: int, out_channels: int) -> nn.Module:
    conv = spnn.SparseConv3d(in_channels, in_channels, 2, stride=2, bias=False)
    return spnn.SparseSequential(
        normed(conv, in_channels),
        Residual(in_channels, out_channels),
        Residual(out_channels, out_channels),
    )


class MinkUNet(nn.Module):
    """Logits of voxels, read at the points in them."""

    def __init__(self, num_classes: int = 20, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        w = widths
        self.stem = spnn.SparseSequential(unit(4, w[0]), unit(w[0], w[0]))
        self.down = nn.ModuleList(down(w[i], w[i + 1]) for i in range(4))
        self.up = nn.ModuleList(Up(w[4 + i], w[3 - i], w[5 + i]) for i in range(4))
        self.head = nn.Linear(w[8], num_classes)

    def forward(
        self,
        features: Tensor,  # [N, 4]
        scans: Scans,
    ) -> Tensor:  # [N, classes]
        skips = [self.stem(scans.voxelize(features))]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = skips.pop()
        for up in self.up:
            x = up(x, skips.pop())
        finest = scans.segments[x.spatial_shape]
        return elite_ops.voxel_to_point(self.head(x.features), finest)


class SPVCNN(MinkUNet):
    """The voxels of a MinkUNet, and points, which meet after the stem and at strides 16, 4, 1."""

    def __init__(self, num_classes: int = 20, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__(num_classes, widths)
        w = widths
        self.points = nn.ModuleList(
            nn.Sequential(nn.Linear(c_in, c_out), nn.BatchNorm1d(c_out), nn.ReLU())
            for c_in, c_out in ((w[0], w[4]), (w[4], w[6]), (w[6], w[8]))
        )

    def forward(
        self,
        features: Tensor,  # [N, 4]
        scans: Scans,
    ) -> Tensor:  # [N, classes]
        x = self.stem(scans.voxelize(features))
        points = scans.read(x)
        skips = [x]
        x = scans.onto(x, points)
        for down in self.down:
            x = down(x)
            skips.append(x)
        points = scans.read(skips.pop()) + self.points[0](points)
        for branch, ups in ((self.points[1], self.up[:2]), (self.points[2], self.up[2:])):
            x = scans.onto(x, points)
            for up in ups:
                x = up(x, skips.pop())
            points = scans.read(x) + branch(points)
        logits: Tensor = self.head(points)
        return logits


def main(arguments: Sequence[str] | None = None) -> list[Tensor]:  # [N] each
    """Labels a scan by both networks, with weights of chance."""
    parser = argparse.ArgumentParser(description="MinkUNet and SPVCNN on one scan")
    parser.add_argument("scan", nargs="?", help="a .bin file; a synthetic scan by default")
    path = parser.parse_args(arguments).scan

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    points, labels = example_scan(path).to(device), []
    for kind in (MinkUNet, SPVCNN):
        network = kind().to(device)
        number = sum(p.numel() for p in network.parameters())
        network = spnn.fold(network.eval())  # norms and activations into convolutions
        began = time.perf_counter()
        with torch.inference_mode():
            scans = Scans(points)
            logits = network(points, scans)
            labels.append(logits.argmax(1).cpu())  # which waits for the device
        seconds = time.perf_counter() - began
        print(f"{kind.__name__}: points {tuple(points.shape)}, {scans.voxels}")
        print(f"  labels {tuple(labels[-1].shape)} from logits {tuple(logits.shape)}")
        print(f"  {number / 1e6:.1f} million parameters, {seconds:.2f} s on {device}")
    return labels


if __name__ == "__main__":
    main()
