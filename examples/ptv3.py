"""Point Transformer V3: attention among voxels that are neighbours on a space-filling curve.

Wu et al., Point Transformer V3: Simpler, Faster, Stronger, CVPR 2024.

    points [N, 4]       x, y, z in metres, remission in 0..1
    voxels              their mean in each of the V voxels of 0.05 m [V, 4]
    serialization       the voxels in the order of four curves: z-order, Hilbert's, and both with x
                        and y exchanged; each order cut into patches of 1024 voxels
    block               a 3x3x3 convolution tells where a voxel is (conditional position encoding),
                        attention within each patch, an MLP; the next block takes the next curve
    pooling             the maximum over the eight voxels of one of twice the size; five stages
    unpooling           each voxel gets the row of the one it was pooled into, and its own
    logits              of voxels [V, classes], copied to their points [N, classes]

    python examples/ptv3.py [scan.bin]    # a scan of SemanticKITTI; else a synthetic one

Stochastic depth, which the paper trains with, is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

import elite_ops
from elite.data.example_scan import example_scan
from elite_ops import Patches, Segments, SparseTensor, VoxelSet
from elite_ops import nn as spnn

BOX = (-51.2, -51.2, -4.0, 51.2, 51.2, 2.4)  # x, y, z of the lowest and the highest corner (m)
SHAPE = (2048, 2048, 128)  # voxels of 0.05 m
CURVES = ("z", "z-trans", "hilbert", "hilbert-trans")


@dataclass(frozen=True)
class Level:
    """The voxels of one stage, and their patches along each curve, all of one size."""

    voxels: VoxelSet
    depth: int  # 2^depth cells a side hold the grid
    patches: list[Patches]

    @staticmethod
    def of(voxels: VoxelSet, depth: int, patch_size: int, curves: Sequence[str]) -> Level:
        """Patches are as large as the smallest sample at most."""
        counts = torch.unique(voxels.indices[:, 0], return_counts=True)[1]
        patch_size = min(patch_size, int(counts.min()))
        patches = [
            elite_ops.build_serialization(voxels.indices, order=curve, depth=depth).patches(
                patch_size
            )
            for curve in curves
        ]
        return Level(voxels, depth, patches)


def pool(voxels: VoxelSet, depth: int) -> tuple[VoxelSet, Segments]:
    """The voxels of twice the size, and which voxels lie in each."""
    code = elite_ops.serialize(voxels.indices, order="z", depth=depth) >> 3
    coarse, inverse = torch.unique(code, return_inverse=True)
    segments = Segments.from_coo(inverse, len(coarse))
    first = voxels.indices[segments.order[segments.offsets[:-1]]]  # a voxel in each
    cells = torch.cat([first[:, :1], first[:, 1:] >> 1], 1)
    shape = [-(-n // 2) for n in voxels.spatial_shape]
    return VoxelSet(cells, shape, voxels.batch_size), segments


class PatchAttention(nn.Module):
    """Each voxel attends to the voxels of its patch."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(
        self,
        features: Tensor,  # [V, C]
        patches: Patches,
    ) -> Tensor:  # [V, C]
        num_patches = len(patches.offsets) - 1
        rows = self.qkv(features)[patches.rows]  # [patches * size, 3 * C]
        rows = rows.view(num_patches, -1, 3, self.heads, features.shape[1] // self.heads)
        q, k, v = rows.permute(2, 0, 3, 1, 4)  # [patches, heads, size, C / heads] each
        attended = scaled_dot_product_attention(q, k, v)
        rows = attended.transpose(1, 2).reshape(-1, features.shape[1])
        out: Tensor = self.out(rows[patches.places])
        return out


class Block(nn.Module):
    """Position encoding, attention along one curve, and an MLP, each with a skip connection."""

    def __init__(self, channels: int, heads: int, curve: int) -> None:
        super().__init__()
        self.curve = curve
        self.position = spnn.SparseSequential(
            spnn.SubmanifoldConv3d(channels, channels, 3),
            nn.Linear(channels, channels),
            nn.LayerNorm(channels),
        )
        self.norm1 = nn.LayerNorm(channels)
        self.attention = PatchAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, features: Tensor, level: Level) -> Tensor:
        features = features + self.position(SparseTensor(features, level.voxels)).features
        features = features + self.attention(self.norm1(features), level.patches[self.curve])
        out: Tensor = features + self.mlp(self.norm2(features))
        return out


class Stage(nn.ModuleList):
    """Blocks, which take the curves in turns."""

    def __init__(self, channels: int, heads: int, depth: int) -> None:
        super().__init__(Block(channels, heads, i % len(CURVES)) for i in range(depth))

    def forward(self, features: Tensor, level: Level) -> Tensor:
        for block in self:
            features = block(features, level)
        return features


def normed(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm1d(channels), nn.GELU()]


class GridPool(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels)
        self.norm = nn.Sequential(*normed(out_channels))

    def forward(self, features: Tensor, segments: Segments) -> Tensor:
        out: Tensor = self.norm(elite_ops.segment_max(self.linear(features), segments))
        return out


class GridUnpool(nn.Module):
    def __init__(self, in_channels: int, skip_channels: int, out_channels: int) -> None:
        super().__init__()
        self.coarse = nn.Sequential(nn.Linear(in_channels, out_channels), *normed(out_channels))
        self.skip = nn.Sequential(nn.Linear(skip_channels, out_channels), *normed(out_channels))

    def forward(self, coarse: Tensor, skip: Tensor, segments: Segments) -> Tensor:
        out: Tensor = self.skip(skip) + elite_ops.gather_segments(self.coarse(coarse), segments)
        return out


class PTv3(nn.Module):
    """Logits of voxels, by default with the paper's numbers of channels, heads and blocks."""

    def __init__(
        self,
        num_classes: int = 20,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        heads: Sequence[int] = (2, 4, 8, 16, 32),
        depths: Sequence[int] = (2, 2, 2, 6, 2),
        up_channels: Sequence[int] = (64, 64, 128, 256),
        up_heads: Sequence[int] = (4, 4, 8, 16),
        up_depths: Sequence[int] = (2, 2, 2, 2),
        patch_size: int = 1024,
        shuffle: bool = True,  # in training, each stage has the curves in an order of chance
    ) -> None:
        super().__init__()
        self.patch_size, self.shuffle = patch_size, shuffle
        conv = spnn.SubmanifoldConv3d(4, channels[0], 5, bias=False)
        self.stem = spnn.SparseSequential(conv, *normed(channels[0]))
        self.stages = nn.ModuleList(map(Stage, channels, heads, depths))
        self.pools = nn.ModuleList(map(GridPool, channels, channels[1:]))
        self.up_stages = nn.ModuleList(map(Stage, up_channels, up_heads, up_depths))
        below = [*up_channels[1:], channels[-1]]
        self.unpools = nn.ModuleList(map(GridUnpool, below, channels, up_channels))
        self.head = nn.Linear(up_channels[0], num_classes)

    def forward(
        self,
        features: Tensor,  # [V, 4]
        voxels: VoxelSet,
    ) -> Tensor:  # [V, classes]
        features = self.stem(SparseTensor(features, voxels)).features
        level = self.level(voxels, max(n - 1 for n in voxels.spatial_shape).bit_length())
        features = self.stages[0](features, level)
        skips = []
        for pooling, stage in zip(self.pools, self.stages[1:], strict=True):
            coarse, segments = pool(level.voxels, level.depth)
            skips.append((features, level, segments))
            level = self.level(coarse, level.depth - 1)
            features = stage(pooling(features, segments), level)
        for unpool, stage in zip(reversed(self.unpools), reversed(self.up_stages), strict=True):
            skip, level, segments = skips.pop()
            features = stage(unpool(features, skip, segments), level)
        logits: Tensor = self.head(features)
        return logits

    def level(self, voxels: VoxelSet, depth: int) -> Level:
        order = torch.randperm(len(CURVES)) if self.shuffle and self.training else range(4)
        return Level.of(voxels, depth, self.patch_size, [CURVES[i] for i in order])


def main(arguments: Sequence[str] | None = None) -> Tensor:  # [N]
    """Labels a scan with weights of chance; points outside the box get label 0."""
    parser = argparse.ArgumentParser(description="Point Transformer V3 on one scan")
    parser.add_argument("scan", nargs="?", help="a .bin file; a synthetic scan by default")
    path = parser.parse_args(arguments).scan

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    points = example_scan(path).to(device)
    network = PTv3().to(device).eval()
    began = time.perf_counter()
    with torch.inference_mode():
        (voxels,) = elite_ops.voxelize(points, point_cloud_range=BOX, spatial_shape=SHAPE)
        segments = elite_ops.build_segments(voxels.point_rows, len(voxels))
        logits = network(elite_ops.segment_mean(points, segments), voxels)
        labels = elite_ops.voxel_to_point(logits, segments).argmax(1).cpu()
    seconds = time.perf_counter() - began
    print(f"points {tuple(points.shape)}, {voxels}")
    print(f"labels {tuple(labels.shape)} from logits {tuple(logits.shape)}")
    number = sum(p.numel() for p in network.parameters())
    print(f"{number / 1e6:.1f} million parameters, {seconds:.2f} s on {device}")
    return labels


if __name__ == "__main__":
    main()
