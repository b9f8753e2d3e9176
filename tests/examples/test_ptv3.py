"""Point Transformer V3 beside its twin, written for spconv and torch_scatter, and by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from scan_twins import (
    as_spconv,
    assert_same_gradients,
    load,
    losses,
    make_interesting,
    save_scan,
)
from torch import Tensor, nn
from torch.testing import assert_close

import elite_ops.compat.spconv.pytorch as spconv
from elite_ops import VoxelSet
from elite_ops.compat.torch_scatter import segment_csr
from elite_ops.reference.serialize import serialize
from examples import ptv3
from examples.ptv3 import CURVES, Level, PatchAttention, PTv3, pool

DEPTH = 5
SHAPE = (32, 32, 20)
SMALL: dict[str, Any] = {
    "num_classes": 5,
    "channels": (8, 12, 16, 16, 20),
    "heads": (2, 3, 4, 4, 5),
    "depths": (1, 2, 1, 5, 1),
    "up_channels": (10, 12, 12, 16),
    "up_heads": (2, 3, 4, 4),
    "up_depths": (1, 1, 2, 1),
}


def cells(count: int = 400) -> Tensor:
    """Of two samples of different size, in an order of chance."""
    places = torch.randperm(2 * 24 * 28 * 9)[:count]
    batch, x, y, z = torch.unravel_index(places, (2, 24, 28, 9))
    keep = (batch == 0) | (x < 15)
    return torch.stack([batch, x, y, z], 1)[keep].int().contiguous()


def z_order(cell: list[int]) -> int:
    """x is the first of each three bits."""
    bits = [f"{c:0{DEPTH}b}" for c in cell]
    return int("".join(x + y + z for x, y, z in zip(*bits, strict=True)), 2)


class Point(dict):
    """What users pass on: features, cells, samples, and the codes of all curves."""

    __getattr__ = dict.__getitem__

    def serialize(self, codes: Tensor, perm: list[int]) -> Point:
        order = codes[perm].argsort(dim=1)
        inverse = torch.zeros_like(order).scatter_(
            1, order, torch.arange(order.shape[1], device=order.device).expand_as(order)
        )
        return Point(self, codes=codes, order=order, inverse=inverse)

    def sparsify(self) -> Any:
        coords = torch.cat([self.batch[:, None], self.coord], 1).int().contiguous()
        shape = (self.coord.amax(0) + 96).tolist()
        return spconv.SparseConvTensor(self.feat, coords, shape, int(self.batch.max()) + 1)


class Attention(nn.Module):
    def __init__(self, c: int, heads: int, patch_size: int) -> None:
        super().__init__()
        self.heads, self.patch_size, self.scale = heads, patch_size, (c // heads) ** -0.5
        self.qkv, self.out = nn.Linear(c, 3 * c), nn.Linear(c, c)

    def padding(self, counts: list[int]) -> tuple[Tensor, Tensor, int]:
        """The places of the patches, and which of them are of each voxel in order."""
        k = min(self.patch_size, *counts)
        pad, unpad, begin, begin_padded = [], [], 0, 0
        for n in counts:
            place = torch.arange(-(-n // k) * k)
            unpad.append(begin_padded + place[:n])
            begin_padded += len(place)
            place[n:] -= k
            pad.append(begin + place)
            begin += n
        return torch.cat(pad), torch.cat(unpad), k

    def forward(self, feat: Tensor, point: Point, index: int) -> Tensor:
        pad, unpad, k = self.padding(torch.bincount(point.batch).tolist())
        c, h = feat.shape[1], self.heads
        qkv = self.qkv(feat)[point.order[index][pad.to(feat.device)]]
        q, key, v = qkv.reshape(-1, k, 3, h, c // h).permute(2, 0, 3, 1, 4).unbind(0)
        attention = torch.softmax((q * self.scale) @ key.transpose(-2, -1), -1)
        feat = (attention @ v).transpose(1, 2).reshape(-1, c)
        return self.out(feat[unpad.to(feat.device)[point.inverse[index]]])


class TwinBlock(nn.Module):
    def __init__(self, c: int, heads: int, index: int, patch_size: int) -> None:
        super().__init__()
        self.index = index
        self.position = spconv.SparseSequential(
            spconv.SubMConv3d(c, c, 3, bias=True), nn.Linear(c, c), nn.LayerNorm(c)
        )
        self.norm1, self.norm2 = nn.LayerNorm(c), nn.LayerNorm(c)
        self.attention = Attention(c, heads, patch_size)
        self.mlp = nn.Sequential(nn.Linear(c, 4 * c), nn.GELU(), nn.Linear(4 * c, c))

    def forward(self, point: Point) -> Point:
        feat = point.feat + self.position(point.sparsify()).features
        feat = feat + self.attention(self.norm1(feat), point, self.index)
        return Point(point, feat=feat + self.mlp(self.norm2(feat)))


class Twin(nn.Module):
    def __init__(self, num_classes: int, patch_size: int, **widths: Any) -> None:
        super().__init__()
        c, up = widths["channels"], widths["up_channels"]

        def stages(*arguments: Any) -> nn.ModuleList:
            return nn.ModuleList(
                nn.ModuleList(TwinBlock(wide, heads, i % 4, patch_size) for i in range(depth))
                for wide, heads, depth in zip(*arguments, strict=True)
            )

        def linear(c_in: int, c_out: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(c_in, c_out), nn.BatchNorm1d(c_out), nn.GELU())

        self.stem = spconv.SparseSequential(
            spconv.SubMConv3d(4, c[0], 5, bias=False), nn.BatchNorm1d(c[0]), nn.GELU()
        )
        self.stages = stages(c, widths["heads"], widths["depths"])
        self.up_stages = stages(up, widths["up_heads"], widths["up_depths"])
        self.pools, self.unpools = nn.ModuleList(), nn.ModuleList()
        for i in range(4):
            norm = nn.Sequential(nn.BatchNorm1d(c[i + 1]), nn.GELU())
            self.pools.append(nn.ModuleDict({"linear": nn.Linear(c[i], c[i + 1]), "norm": norm}))
            below = (*up, c[4])[i + 1]
            self.unpools.append(
                nn.ModuleDict({"coarse": linear(below, up[i]), "skip": linear(c[i], up[i])})
            )
        self.head = nn.Linear(up[0], num_classes)

    def perm(self) -> list[int]:
        return torch.randperm(4).tolist() if self.training else [0, 1, 2, 3]

    def pool(self, pooling: Any, point: Point) -> Point:
        """By the first code without its last three bits."""
        code = point.codes >> 3
        _, cluster, counts = torch.unique(code[0], return_inverse=True, return_counts=True)
        indices = cluster.argsort(stable=True)
        indptr = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        head = indices[indptr[:-1]]
        feat = segment_csr(pooling["linear"](point.feat)[indices], indptr, reduce="max")
        coarse = Point(
            feat=pooling["norm"](feat),
            coord=point.coord[head] >> 1,
            batch=point.batch[head],
            parent=point,
            cluster=cluster,
        )
        return coarse.serialize(code[:, head], self.perm())

    def forward(self, features: Tensor, indices: Tensor) -> Tensor:
        point = Point(feat=features, coord=indices[:, 1:], batch=indices[:, 0])
        point = Point(point, feat=self.stem(point.sparsify()).features)
        codes = [serialize(indices, order=curve, depth=DEPTH) for curve in CURVES]
        point = point.serialize(torch.stack(codes), self.perm())
        for i, stage in enumerate(self.stages):
            if i > 0:
                point = self.pool(self.pools[i - 1], point)
            for block in stage:
                point = block(point)
        for i in reversed(range(4)):
            parent, cluster = point.parent, point.cluster
            unpool = self.unpools[i]
            feat = unpool["skip"](parent.feat) + unpool["coarse"](point.feat)[cluster]
            point = Point(parent, feat=feat)
            for block in self.up_stages[i]:
                point = block(point)
        return self.head(point.feat)


@pytest.mark.parametrize("patch_size", [16, 1024])
@pytest.mark.parametrize("training", [False, True])
def test_equals_its_twin(device: torch.device, training: bool, patch_size: int) -> None:
    """In training with curves in an order of chance, of the same chance."""
    indices = cells().to(device)
    features = torch.randn(len(indices), 4, dtype=torch.float64, device=device)
    network, twin = (make(patch_size=patch_size, **SMALL) for make in (PTv3, Twin))
    make_interesting(network)
    load(twin, network, as_spconv)
    outs = []
    for module, given in ((network, VoxelSet(indices, SHAPE, 2)), (twin, indices)):
        module.double().to(device).train(training)
        torch.manual_seed(5)
        outs.append(module(features, given))
    assert_close(*outs, rtol=1e-10, atol=1e-10)
    assert_same_gradients(network, outs[0], twin, outs[1], as_spconv)


@pytest.mark.parametrize("patch_size", [1, 7, 64, 1024])
def test_attention_equals_explicit_patches(device: torch.device, patch_size: int) -> None:
    indices = cells(150)
    module = PatchAttention(6, 2).double()
    features = torch.randn(len(indices), 6, dtype=torch.float64, requires_grad=True)
    rows = indices.tolist()
    samples = [
        sorted((i for i in range(len(rows)) if rows[i][0] == b), key=lambda i: z_order(rows[i][1:]))
        for b in (0, 1)
    ]
    size = min(patch_size, *map(len, samples))
    want: dict[int, Tensor] = {}
    for sample in samples:
        for begin in range(0, len(sample), size):
            own = sample[begin : begin + size]
            patch = own + sample[begin - size + len(own) : begin] if len(own) < size else own
            assert len(patch) == size
            q, k, v = (features[patch] @ w.T + b for w, b in projections(module))
            heads = []
            for h in (slice(0, 3), slice(3, 6)):
                scores = (q[:, h] @ k[:, h].T / 3**0.5).exp()
                heads.append(scores / scores.sum(1, keepdim=True) @ v[:, h])
            out = torch.cat(heads, 1) @ module.out.weight.T + module.out.bias
            want.update(zip(own, out, strict=False))
    wanted = torch.stack([want[i] for i in range(len(rows))])
    (grad,) = torch.autograd.grad(wanted.square().sum(), features)

    level = Level.of(VoxelSet(indices.to(device), SHAPE, 2), DEPTH, patch_size, ["z"])
    given = features.detach().to(device).requires_grad_()
    got = module.to(device)(given, level.patches[0])
    assert_close(got.cpu(), wanted)
    assert_close(torch.autograd.grad(got.square().sum(), given)[0].cpu(), grad)


def projections(module: PatchAttention) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of queries, keys and values."""
    return list(zip(module.qkv.weight.chunk(3), module.qkv.bias.chunk(3), strict=True))


def test_pooling_brings_eight_voxels_together(device: torch.device) -> None:
    indices = cells()
    coarse, segments = pool(VoxelSet(indices.to(device), SHAPE, 2), DEPTH)
    assert coarse.spatial_shape == (16, 16, 10)
    coarse.check()
    halves = torch.cat([indices[:, :1], indices[:, 1:] // 2], 1)
    assert torch.equal(coarse.indices[segments.inverse].cpu(), halves)
    assert len(coarse) == len(halves.unique(dim=0))
    order = [(b, z_order(cell)) for b, *cell in coarse.indices.tolist()]
    assert all(a < b for a, b in pairwise(order))


def test_training_goes_down(device: torch.device) -> None:
    indices = cells(120).to(device)
    voxels = VoxelSet(indices, SHAPE, 2)
    features = torch.cat([indices[:, 1:] / 10, torch.rand(len(indices), 1, device=device)], 1)
    one_block_each = {"depths": [1] * 5, "up_depths": [1] * 4, "patch_size": 32}
    network = PTv3(**{**SMALL, **one_block_each}).to(device)
    found = losses(network, lambda: network(features, voxels), indices[:, 3].long() // 2)
    assert found[-1] < 0.8 * found[0]


@pytest.mark.cpu_kernels("whole networks take minutes on the emulated device")
def test_it_labels_a_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = torch.rand(300, 4) * torch.tensor([4, 4, 2, 1])
    points[0, 0] = 80
    labels = ptv3.main([save_scan(points, tmp_path)])
    assert labels.shape == (300,)
    assert labels[0] == 0
    assert bool((labels >= 0).all() & (labels < 20).all())
    printed = capsys.readouterr().out
    assert "points (300, 4)" in printed
    assert "46.2 million parameters" in printed  # the paper's number
