"""SpUNet: a sparse U-Net of residual blocks, from points to a class of each point.

Graham, Engelcke, van der Maaten: "3D Semantic Segmentation with Submanifold Sparse Convolutional
Networks", CVPR 2018. Widths, depths and residual blocks are those that Pointcept made common.

On the way down, convolutions of 2 x 2 x 2 cells halve the grid; on the way up, inverse convolutions
return to the very voxels that were there before, where the features of the way down wait. The
input's voxels come out.

| stage | cells of a side (m) | channels, down | blocks | channels, up | blocks |
|---|---|---|---|---|---|
| `conv_input` | 0.05 | 32 | | 96 | 2 |
| 0 | 0.1 | 32 | 2 | 96 | 2 |
| 1 | 0.2 | 64 | 3 | 128 | 2 |
| 2 | 0.4 | 128 | 4 | 256 | 2 |
| 3 | 0.8 | 256 | 6 | | |

Run it on the synthetic street, or on a scan of SemanticKITTI:

    python examples/spunet.py [sequences/00/velodyne/000000.bin]
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
    Segments,
    SparseTensor,
    build_segments,
    cat,
    segment_mean,
    voxel_to_point,
    voxelize,
)
from elite_ops import nn as spnn


@dataclass(frozen=True)
class Grid:
    """The box around the car, in cells of 5 cm."""

    point_cloud_range: tuple[float, ...] = (-51.2, -51.2, -4.0, 51.2, 51.2, 2.4)  # metres
    spatial_shape: tuple[int, int, int] = (2048, 2048, 128)  # along x, y, z


def mean_of_points(
    points: Tensor,  # [N, 3 + F] float32: x, y, z (m), and features
    batch_index: Tensor | None = None,  # [N] int64
    *,
    grid: Grid,
    batch_size: int = 1,
) -> tuple[SparseTensor, Segments]:
    """The mean of each voxel's points, and which points these are: the way back to them."""
    (voxels,) = voxelize(
        points,
        batch_index,
        point_cloud_range=grid.point_cloud_range,
        spatial_shape=grid.spatial_shape,
        batch_size=batch_size,
    )
    segments = build_segments(voxels.point_rows, len(voxels))
    return SparseTensor(segment_mean(points, segments), voxels), segments


def norm(channels: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(channels, eps=1e-3, momentum=0.01)


class ResidualBlock(spnn.SparseModule):
    """Two submanifold convolutions, added to the input, which is projected if widths differ."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.conv1 = spnn.SubmanifoldConv3d(c_in, c_out, 3, bias=False)
        self.bn1 = norm(c_out)
        self.conv2 = spnn.SubmanifoldConv3d(c_out, c_out, 3, bias=False)
        self.bn2 = norm(c_out)
        self.proj: nn.Module = nn.Identity()
        if c_in != c_out:
            self.proj = nn.Sequential(nn.Linear(c_in, c_out, bias=False), norm(c_out))

    def forward(self, x: SparseTensor) -> SparseTensor:
        out = self.conv1(x)
        out = self.conv2(out.replace(torch.relu(self.bn1(out.features))))
        return x.replace(torch.relu(self.bn2(out.features) + self.proj(x.features)))


def blocks(c_in: int, c_out: int, number: int) -> spnn.SparseSequential:
    others = (ResidualBlock(c_out, c_out) for _ in range(number - 1))
    return spnn.SparseSequential(ResidualBlock(c_in, c_out), *others)


class SpUNet(nn.Module):
    """One row of logits for each voxel.

    Args:
        in_channels: features of a voxel.
        num_classes: of the logits.
        base: channels behind the first convolution.
        channels: those of the stages, first on the way down, then on the way up; twice as many
            numbers as stages.
        layers: residual blocks of the stages, likewise.
    """

    def __init__(
        self,
        in_channels: int = 4,
        num_classes: int = 19,
        *,
        base: int = 32,
        channels: Sequence[int] = (32, 64, 128, 256, 256, 128, 96, 96),
        layers: Sequence[int] = (2, 3, 4, 6, 2, 2, 2, 2),
    ) -> None:
        super().__init__()
        stages = len(channels) // 2
        down = [base, *channels[:stages]]  # channels at each resolution, the finest first
        self.conv_input = spnn.SparseSequential(
            spnn.SubmanifoldConv3d(in_channels, base, 5, bias=False), norm(base), nn.ReLU()
        )
        self.down, self.enc = nn.ModuleList(), nn.ModuleList()
        for stage in range(stages):
            conv = spnn.SparseConv3d(down[stage], down[stage + 1], 2, stride=2, bias=False)
            self.down.append(spnn.SparseSequential(conv, norm(down[stage + 1]), nn.ReLU()))
            self.enc.append(blocks(down[stage + 1], down[stage + 1], layers[stage]))
        self.up, self.dec = nn.ModuleList(), nn.ModuleList()  # the coarsest first
        width = down[stages]
        for step in range(stages):
            wide, skip = channels[stages + step], down[stages - 1 - step]
            inverse = spnn.SparseInverseConv3d(width, wide, 2, bias=False)
            self.up.append(spnn.SparseSequential(inverse, norm(wide), nn.ReLU()))
            self.dec.append(blocks(wide + skip, wide, layers[stages + step]))
            width = wide
        self.final = nn.Linear(width, num_classes)

    def scales(self, x: SparseTensor) -> list[SparseTensor]:
        """The features of the way down, the finest first."""
        x = self.conv_input(x)
        found = [x]
        for down, encode in zip(self.down, self.enc, strict=True):
            x = encode(down(x))
            found.append(x)
        return found

    def forward(self, x: SparseTensor) -> SparseTensor:  # [V, num_classes]
        *skips, x = self.scales(x)
        for up, decode in zip(self.up, self.dec, strict=True):
            x = decode(cat([up(x), skips.pop()]))  # both are on the same voxels
        return x.replace(self.final(x.features))


# ---- a scan ------------------------------------------------------------------------------------


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="SpUNet on one scan")
    parser.add_argument("scan", nargs="?", help="a .bin file; a synthetic scan by default")
    options = parser.parse_args(arguments)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    points = example_scan(options.scan).to(device)
    network = SpUNet().to(device).eval()

    x, _ = mean_of_points(points, grid=Grid())
    print(f"{len(points)} points, {len(x)} voxels")
    for stage, scale in enumerate(network.scales(x)):
        shape, channels = scale.spatial_shape, scale.features.shape[1]
        print(f"1/{2**stage:<2} {len(scale):6} voxels of {shape}, {channels} channels")
    print(f"{sum(p.numel() for p in network.parameters())} parameters")

    begin = time.perf_counter()
    x, segments = mean_of_points(points, grid=Grid())
    logits = voxel_to_point(network(x).features, segments)
    labels = logits.argmax(dim=1).cpu()  # on a GPU, this waits for it
    seconds = time.perf_counter() - begin
    print(f"logits {tuple(logits.shape)}, labels of the points {tuple(labels.shape)}")
    print(f"points to labels {seconds:.3f} s on {device}")


if __name__ == "__main__":
    main()
