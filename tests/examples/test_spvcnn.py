"""MinkUNet and SPVCNN beside their twins, written for torchsparse 1.4."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from scan_twins import (
    as_torchsparse,
    assert_same_gradients,
    load,
    losses,
    make_interesting,
    save_scan,
)
from torch import Tensor, nn
from torch.testing import assert_close

from elite_ops.compat import torchsparse
from elite_ops.compat.torchsparse import nn as spnn
from elite_ops.compat.torchsparse.nn import functional as F
from elite_ops.compat.torchsparse.nn.utils import get_kernel_offsets
from elite_ops.compat.torchsparse.utils import make_ntuple
from examples import spvcnn
from examples.spvcnn import SPVCNN, MinkUNet, Scans

BOX, SHAPE, SIZE = (-8.0, -8.0, -4.0, 8.0, 8.0, 4.0), (32, 32, 16), 0.5
WIDTHS = (4, 4, 6, 8, 10, 10, 8, 6, 5)
CLASSES = 5


@pytest.fixture(autouse=True)
def release() -> Iterator[None]:
    with torchsparse.using_version("1.4"):
        yield


def scan(count: int = 500) -> tuple[Tensor, Tensor]:
    """Points of two samples, near to each other, in places that float32 has exactly.

    None lies on the border of a voxel.
    """
    high = torch.tensor([700, 900, 300])
    xyz = (torch.rand(count, 3) * high).floor() / 128 + 1 / 256 + torch.tensor(BOX[:3])
    return torch.cat([xyz, torch.rand(count, 1)], 1), torch.arange(count) * 2 // count


def basic(c_in: int, c_out: int, size: int, stride: int = 1, up: bool = False) -> nn.Sequential:
    conv = spnn.Conv3d(c_in, c_out, kernel_size=size, stride=stride, transposed=up)
    return nn.Sequential(conv, spnn.BatchNorm(c_out), spnn.ReLU(True))


class ResidualBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.first = basic(c_in, c_out, 3)
        self.second = nn.Sequential(spnn.Conv3d(c_out, c_out, kernel_size=3), spnn.BatchNorm(c_out))
        self.shortcut = nn.Sequential()
        if c_in != c_out:
            self.shortcut = nn.Sequential(spnn.Conv3d(c_in, c_out, 1), spnn.BatchNorm(c_out))
        self.relu = spnn.ReLU(True)

    def forward(self, x: Any) -> Any:
        return self.relu(self.second(self.first(x)) + self.shortcut(x))


class UpBlock(nn.Module):
    def __init__(self, c_in: int, c_skip: int, c_out: int) -> None:
        super().__init__()
        self.unpool = basic(c_in, c_out, 2, 2, up=True)
        joined = ResidualBlock(c_out + c_skip, c_out)
        self.blocks = nn.Sequential(joined, ResidualBlock(c_out, c_out))

    def forward(self, x: Any, skip: Any) -> Any:
        return self.blocks(torchsparse.cat([self.unpool(x), skip]))


def places(points: Tensor, batch_index: Tensor) -> Tensor:
    """As users of torchsparse have them: in voxels from 0 on, and the batch last."""
    xyz = (points[:, :3] - points.new_tensor(BOX[:3])) / SIZE
    return torch.cat([xyz, batch_index[:, None].to(xyz)], 1)


def initial_voxelize(z: Any) -> Any:
    numbers = F.sphash(torch.floor(z.C).int())
    unique = torch.unique(numbers)
    rows = F.sphashquery(numbers, unique)
    counts = F.spcount(rows.int(), len(unique))
    coords = torch.round(F.spvoxelize(torch.floor(z.C), rows, counts)).int()
    x = torchsparse.SparseTensor(F.spvoxelize(z.F, rows, counts), coords, 1)
    x.cmaps.setdefault(x.stride, x.coords)
    z.additional_features["idx_query"][x.s] = rows
    z.additional_features["counts"][x.s] = counts
    return x


def point_to_voxel(x: Any, z: Any) -> Any:
    known = z.additional_features
    if known["idx_query"].get(x.s) is None:
        cells = torch.cat([torch.floor(z.C[:, :3] / x.s[0]) * x.s[0], z.C[:, -1:]], 1).int()
        known["idx_query"][x.s] = F.sphashquery(F.sphash(cells), F.sphash(x.C))
        known["counts"][x.s] = F.spcount(known["idx_query"][x.s].int(), len(x.C))
    feats = F.spvoxelize(z.F, known["idx_query"][x.s], known["counts"][x.s])
    out = torchsparse.SparseTensor(feats, x.C, x.s)
    out.cmaps, out.kmaps = x.cmaps, x.kmaps
    return out


def voxel_to_point(x: Any, z: Any) -> Any:
    """Between the centres of voxels: half a voxel below the points."""
    if z.idx_query.get(x.s) is None:
        stride = make_ntuple(x.s, ndim=3)[0]
        shifted = torch.cat([z.C[:, :3] - stride / 2, z.C[:, -1:]], 1)
        cells = torch.cat([torch.floor(shifted[:, :3] / stride) * stride, z.C[:, -1:]], 1)
        offsets = get_kernel_offsets(2, x.s, 1, device=z.F.device)
        rows = F.sphashquery(F.sphash(cells.int(), offsets), F.sphash(x.C))
        z.weights[x.s] = F.calc_ti_weights(shifted, rows, scale=stride).t().contiguous()
        z.idx_query[x.s] = rows.t().contiguous()
    feats = F.spdevoxelize(x.F, z.idx_query[x.s], z.weights[x.s])
    out = torchsparse.PointTensor(feats, z.C, idx_query=z.idx_query, weights=z.weights)
    out.additional_features = z.additional_features
    return out


class TwinUNet(nn.Module):
    def __init__(self, classes: int, w: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(basic(4, w[0], 3), basic(w[0], w[0], 3))
        self.down = nn.ModuleList(
            nn.Sequential(
                basic(w[i], w[i], 2, 2),
                ResidualBlock(w[i], w[i + 1]),
                ResidualBlock(w[i + 1], w[i + 1]),
            )
            for i in range(4)
        )
        self.up = nn.ModuleList(
            [
                UpBlock(w[4], w[3], w[5]),
                UpBlock(w[5], w[2], w[6]),
                UpBlock(w[6], w[1], w[7]),
                UpBlock(w[7], w[0], w[8]),
            ]
        )
        self.head = nn.Linear(w[8], classes)

    def forward(self, features: Tensor, coords: Tensor) -> Tensor:
        z = torchsparse.PointTensor(features, coords)
        x0 = self.stem(initial_voxelize(z))
        x1 = self.down[0](x0)
        x2 = self.down[1](x1)
        x3 = self.down[2](x2)
        y = self.up[0](self.down[3](x3), x3)
        y = self.up[3](self.up[2](self.up[1](y, x2), x1), x0)
        return self.head(y.F)[z.additional_features["idx_query"][y.s]]


class TwinSPVCNN(TwinUNet):
    def __init__(self, classes: int, w: tuple[int, ...]) -> None:
        super().__init__(classes, w)
        self.points = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(w[0], w[4]), nn.BatchNorm1d(w[4]), nn.ReLU(True)),
                nn.Sequential(nn.Linear(w[4], w[6]), nn.BatchNorm1d(w[6]), nn.ReLU(True)),
                nn.Sequential(nn.Linear(w[6], w[8]), nn.BatchNorm1d(w[8]), nn.ReLU(True)),
            ]
        )

    def forward(self, features: Tensor, coords: Tensor) -> Tensor:
        z = torchsparse.PointTensor(features, coords)
        x0 = self.stem(initial_voxelize(z))
        z0 = voxel_to_point(x0, z)
        x1 = self.down[0](point_to_voxel(x0, z0))
        x2 = self.down[1](x1)
        x3 = self.down[2](x2)
        x4 = self.down[3](x3)
        z1 = voxel_to_point(x4, z0)
        z1.F = z1.F + self.points[0](z0.F)
        y2 = self.up[1](self.up[0](point_to_voxel(x4, z1), x3), x2)
        z2 = voxel_to_point(y2, z1)
        z2.F = z2.F + self.points[1](z1.F)
        y4 = self.up[3](self.up[2](point_to_voxel(y2, z2), x1), x0)
        z3 = voxel_to_point(y4, z2)
        z3.F = z3.F + self.points[2](z2.F)
        return self.head(z3.F)


# Weights of nearness are float32, and torchsparse's sum to 1 less 1e-8.
PAIRS = [(MinkUNet, TwinUNet, 1e-9), (SPVCNN, TwinSPVCNN, 1e-5)]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("kind", "twin_kind", "tolerance"), PAIRS)
def test_equals_its_twin(
    device: torch.device, kind: Any, twin_kind: Any, tolerance: float, training: bool
) -> None:
    points, batch_index = (t.to(device) for t in scan())
    network, twin = kind(CLASSES, WIDTHS), twin_kind(CLASSES, WIDTHS)
    make_interesting(network)
    load(twin, network, as_torchsparse)
    network.double().to(device).train(training)
    twin.double().to(device).train(training)
    features = points.double()
    got = network(features, Scans(points, batch_index, BOX, SHAPE))
    want = twin(features, places(points, batch_index))
    assert_close(got, want, rtol=tolerance, atol=tolerance)
    assert_same_gradients(network, got, twin, want, as_torchsparse, tolerance)


def test_voxels_are_those_of_strided_convolutions(device: torch.device) -> None:
    """Row by row, in which points and voxels meet."""
    points, batch_index = (t.to(device) for t in scan())
    network = MinkUNet(CLASSES, WIDTHS).to(device).eval()
    scans = Scans(points, batch_index, BOX, SHAPE)
    x = network.stem(scans.voxelize(points))
    cells = places(points, batch_index).long()[:, [3, 0, 1, 2]]
    for stride, down in zip((2, 4, 8, 16), network.down, strict=True):
        x = down(x)
        rows = scans.segments[x.spatial_shape].inverse
        wide = torch.tensor([1, stride, stride, stride], device=device)
        assert torch.equal(x.indices[rows].long(), cells // wide)


@pytest.mark.parametrize("kind", [MinkUNet, SPVCNN])
def test_points_outside_change_nothing(device: torch.device, kind: Any) -> None:
    points, _ = scan()
    points[::3, 0] += 100
    points = points.to(device)
    inside = points[:, 0] < 100 + BOX[0]
    network = kind(CLASSES, WIDTHS).to(device).eval()
    every = network(points, Scans(points, None, BOX, SHAPE))
    assert every.shape == (500, CLASSES)
    alone = network(points[inside], Scans(points[inside], None, BOX, SHAPE))
    assert_close(every[inside], alone)


@pytest.mark.parametrize("kind", [MinkUNet, SPVCNN])
def test_training_goes_down(device: torch.device, kind: Any) -> None:
    points, batch_index = (t.to(device) for t in scan(300))
    network = kind(CLASSES, WIDTHS).to(device)
    scans = Scans(points, batch_index, BOX, SHAPE)
    labels = (points[:, 2] + 4).long().clamp(0, CLASSES - 1)
    found = losses(network, lambda: network(points, scans), labels)
    assert found[-1] < 0.8 * found[0]


@pytest.mark.cpu_kernels("whole networks take minutes on the emulated device")
def test_they_label_a_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points, _ = scan(400)
    found = spvcnn.main([save_scan(points, tmp_path)])
    assert [labels.shape for labels in found] == [(400,), (400,)]
    assert all(bool((labels >= 0).all() & (labels < 20).all()) for labels in found)
    printed = capsys.readouterr().out
    assert "MinkUNet: points (400, 4)" in printed
    assert printed.count("million parameters") == 2
