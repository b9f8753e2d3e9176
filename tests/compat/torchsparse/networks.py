"""Networks as programs for torchsparse write them: a MinkUNet, and one with a branch of points."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from elite_ops.compat import torch_scatter, torchsparse
from elite_ops.compat.torchsparse import SparseTensor
from elite_ops.compat.torchsparse import nn as spnn
from elite_ops.compat.torchsparse.nn import functional as F
from elite_ops.compat.torchsparse.nn.functional.devoxelize import calc_ti_weights
from elite_ops.compat.torchsparse.nn.utils import get_kernel_offsets
from elite_ops.compat.torchsparse.utils import make_tensor

CHANNELS = 8


class BasicBlock(nn.Module):
    def __init__(self, inc: int, outc: int, ks: int = 3, stride: int = 1, up: bool = False) -> None:
        super().__init__()
        self.net = nn.Sequential(
            spnn.Conv3d(inc, outc, kernel_size=ks, stride=stride, transposed=up),
            spnn.BatchNorm(outc),
            spnn.ReLU(True),
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        out: SparseTensor = self.net(x)
        return out


class ResidualBlock(nn.Module):
    def __init__(self, inc: int, outc: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            spnn.Conv3d(inc, outc, kernel_size=3),
            spnn.BatchNorm(outc),
            spnn.ReLU(True),
            spnn.Conv3d(outc, outc, kernel_size=3),
            spnn.BatchNorm(outc),
        )
        self.downsample = nn.Identity()
        if inc != outc:
            self.downsample = nn.Sequential(spnn.Conv3d(inc, outc, 1), spnn.BatchNorm(outc))
        self.relu = spnn.ReLU(True)

    def forward(self, x: SparseTensor) -> SparseTensor:
        out: SparseTensor = self.relu(self.net(x) + self.downsample(x))
        return out


class MinkUNet(nn.Module):
    def __init__(self, inc: int = 4, classes: int = 5) -> None:
        super().__init__()
        c = CHANNELS
        self.stem = BasicBlock(inc, c)
        self.stage1 = nn.Sequential(BasicBlock(c, c, 2, 2), ResidualBlock(c, 2 * c))
        self.stage2 = nn.Sequential(BasicBlock(2 * c, 2 * c, 2, 2), ResidualBlock(2 * c, 2 * c))
        self.up1 = nn.ModuleList([BasicBlock(2 * c, c, 2, 2, up=True), ResidualBlock(3 * c, c)])
        self.up2 = nn.ModuleList([BasicBlock(c, c, 2, 2, up=True), ResidualBlock(2 * c, c)])
        self.classifier = nn.Linear(c, classes)

    def forward(self, x: SparseTensor) -> Tensor:
        x0 = self.stem(x)
        x1 = self.stage1(x0)
        x2 = self.stage2(x1)
        y1 = self.up1[1](torchsparse.cat([self.up1[0](x2), x1]))
        y2 = self.up2[1](torchsparse.cat([self.up2[0](y1), x0]))
        out: Tensor = self.classifier(y2.F)
        return out


class PointsAndVoxels(nn.Module):
    """SPVCNN's way: points to voxels, down, back to the points, and up again."""

    def __init__(self, release: str, inc: int = 4) -> None:
        super().__init__()
        self.ways = Ways21() if release == "2.1" else Ways14()
        self.stem = BasicBlock(inc, CHANNELS)
        self.down = BasicBlock(CHANNELS, CHANNELS, 2, 2)
        self.up = BasicBlock(CHANNELS, CHANNELS, 2, 2, up=True)
        self.points = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x: SparseTensor) -> Tensor:
        ways = self.ways
        z = ways.points(x.F, x.C.float())
        x0 = self.stem(ways.initial_voxelize(z, 0.5))
        z0 = ways.voxel_to_point(x0, z)
        x1 = self.down(ways.point_to_voxel(x0, z0))
        z1 = ways.voxel_to_point(x1, z0)
        z1.F = z1.F + self.points(z0.F)
        y1 = self.up(ways.point_to_voxel(x1, z1))
        out: Tensor = ways.voxel_to_point(torchsparse.cat([y1, x0]), z1).F
        return out


class Points21(SparseTensor):
    def __init__(self, feats: Tensor, coords: Tensor) -> None:
        super().__init__(feats=feats, coords=coords)
        caches: Any = self._caches
        caches.rows, caches.corners, caches.weights = {}, {}, {}


class Ways21:
    """With the hash table of coordinates, as programs for 2.1."""

    points = Points21

    @staticmethod
    def query(query: Tensor, target: Tensor, kernel_size: int = 1) -> Tensor:
        keys = torch.zeros(2 * len(target), dtype=torch.int64, device=target.device)
        table = torchsparse.backend.GPUHashTable(keys, keys.int())
        table.insert_coords(target[:, [1, 2, 3, 0]])
        size = make_tensor((kernel_size,) * 3, device=target.device, dtype=torch.int32)
        one = make_tensor((1, 1, 1), device=target.device, dtype=torch.int32)
        rows = table.lookup_coords(query[:, [1, 2, 3, 0]], size, one, kernel_size**3)
        return (rows - 1)[: len(query)]

    def initial_voxelize(self, z: Any, resolution: float) -> SparseTensor:
        places = torch.cat([z.C[:, :1], z.C[:, 1:] * resolution], 1)
        cells = torch.floor(places).int()
        coords = torch.unique(cells, dim=0)
        rows = self.query(cells, coords).reshape(-1)
        z._caches.rows[z.s], z.C = rows, places
        return SparseTensor(torch_scatter.scatter_mean(z.F, rows.long(), dim=0), coords, 1)

    def point_to_voxel(self, x: SparseTensor, z: Any) -> SparseTensor:
        if z._caches.rows.get(x.s) is None:
            cells = torch.cat([z.C[:, :1].int(), torch.floor(z.C[:, 1:] / x.s[0]).int()], 1)
            z._caches.rows[x.s] = self.query(cells, x.C)
        rows = z._caches.rows[x.s].clamp_(0).reshape(-1)
        feats = torch_scatter.scatter_mean(z.F, rows.long(), 0, dim_size=len(x.C))
        voxels = SparseTensor(feats, x.C, x.s)
        voxels._caches = x._caches
        return voxels

    def voxel_to_point(self, x: SparseTensor, z: Any) -> Any:
        if z._caches.corners.get(x.s) is None:
            places = torch.cat([z.C[:, :1].int(), z.C[:, 1:] / x.s[0]], 1)
            rows = self.query(torch.floor(places).int(), x.C, kernel_size=2)
            z._caches.corners[x.s] = rows
            z._caches.weights[x.s] = calc_ti_weights(places[:, 1:], rows, scale=1)
        feats = F.spdevoxelize(x.F, z._caches.corners[x.s], z._caches.weights[x.s])
        points = Points21(feats, z.C)
        points._caches = z._caches
        return points


class Ways14:
    """With hashes of coordinates, as programs for 1.4."""

    points = torchsparse.PointTensor

    def initial_voxelize(self, z: Any, resolution: float) -> SparseTensor:
        places = torch.cat([z.C[:, :3] * resolution, z.C[:, -1:]], 1)
        numbers = F.sphash(torch.floor(places).int())
        unique = torch.unique(numbers)
        rows = F.sphashquery(numbers, unique)
        counts = F.spcount(rows.int(), len(unique))
        coords = torch.round(F.spvoxelize(torch.floor(places), rows, counts)).int()
        voxels = SparseTensor(F.spvoxelize(z.F, rows, counts), coords, 1)
        voxels.cmaps.setdefault(voxels.stride, voxels.coords)
        z.additional_features["idx_query"][(1, 1, 1)] = rows
        z.additional_features["counts"][(1, 1, 1)] = counts
        z.C = places
        return voxels

    def cells(self, x: SparseTensor, z: Any) -> Tensor:
        return torch.cat([torch.floor(z.C[:, :3] / x.s[0]) * x.s[0], z.C[:, -1:]], 1).int()

    def point_to_voxel(self, x: SparseTensor, z: Any) -> SparseTensor:
        known = z.additional_features
        if known["idx_query"].get(x.s) is None:
            rows = F.sphashquery(F.sphash(self.cells(x, z)), F.sphash(x.C))
            known["idx_query"][x.s] = rows
            known["counts"][x.s] = F.spcount(rows.int(), x.C.shape[0])
        feats = F.spvoxelize(z.F, known["idx_query"][x.s], known["counts"][x.s])
        voxels = SparseTensor(feats, x.C, x.s)
        voxels.cmaps, voxels.kmaps = x.cmaps, x.kmaps
        return voxels

    def voxel_to_point(self, x: SparseTensor, z: Any) -> Any:
        if z.idx_query.get(x.s) is None:
            offsets = get_kernel_offsets(2, x.s, 1, device=z.F.device)
            rows = F.sphashquery(F.sphash(self.cells(x, z), offsets), F.sphash(x.C))
            weights = calc_ti_weights(z.C, rows, scale=x.s[0])
            z.weights[x.s] = weights.transpose(0, 1).contiguous()
            z.idx_query[x.s] = rows.transpose(0, 1).contiguous()
        feats = F.spdevoxelize(x.F, z.idx_query[x.s], z.weights[x.s])
        points = torchsparse.PointTensor(feats, z.C, idx_query=z.idx_query, weights=z.weights)
        points.additional_features = z.additional_features
        return points
