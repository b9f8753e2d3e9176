"""Cylinder3D beside its twin, written for spconv and torch_scatter."""

from __future__ import annotations

import math
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
from elite_ops.compat import torch_scatter
from examples import cylinder3d
from examples.cylinder3d import CYLINDER, Cylinder3D, partition

SHAPE = (24, 20, 12)  # few cells, so that they have neighbours
CLASSES = 5


def scan(count: int = 600) -> tuple[Tensor, Tensor]:
    """Points of two samples, none so near to a cell's border that rounding moves it."""
    low, high = torch.tensor(CYLINDER, dtype=torch.float64).view(2, 3)
    size = (high - low) / torch.tensor(SHAPE)
    box = torch.tensor([8, 12, 6])  # cells that are in use, most of them near to each other
    cell = (torch.rand(count, 3) * box).floor()
    radius, angle, z = (low + size * (cell + 0.05 + 0.9 * torch.rand(count, 3))).float().unbind(1)
    xyz = [radius * angle.cos(), radius * angle.sin(), z]
    points = torch.stack([*xyz, torch.rand(count)], 1)
    return points, torch.arange(count) * 2 // count


def conv(kind: Any, c_in: int, c_out: int, kernel: Any, key: str, **options: Any) -> Any:
    return kind(c_in, c_out, kernel, indice_key=key, bias=False, **options)


def units(c_in: int, c_out: int, kernels: Any, key: str) -> nn.Sequential:
    """Convolution, norm and activation, for each kernel."""
    layers = []
    for kernel in kernels:
        name = key + "".join(map(str, kernel))
        subm = conv(spconv.SubMConv3d, c_in, c_out, kernel, name)
        layers.append(spconv.SparseSequential(subm, nn.BatchNorm1d(c_out), nn.LeakyReLU()))
        c_in = c_out
    return spconv.SparseSequential(*layers)


class Block(nn.Module):
    def __init__(self, c_in: int, c_out: int, key: str) -> None:
        super().__init__()
        self.first = units(c_in, c_out, [(1, 3, 3), (3, 1, 3)], key)
        self.second = units(c_in, c_out, [(3, 1, 3), (1, 3, 3)], key)

    def forward(self, x: Any) -> Any:
        shortcut, result = self.first(x), self.second(x)
        return result.replace_feature(result.features + shortcut.features)


class Down(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: Any, key: str) -> None:
        super().__init__()
        self.block = Block(c_in, c_out, "pre" + key)
        self.pool = conv(spconv.SparseConv3d, c_out, c_out, 3, key, stride=stride, padding=1)


class Up(nn.Module):
    def __init__(self, c_in: int, c_out: int, key: str) -> None:
        super().__init__()
        self.enter = units(c_in, c_out, [(3, 3, 3)], "up" + key)[0]
        self.unpool = conv(spconv.SparseInverseConv3d, c_out, c_out, 3, key)
        self.block = Block(c_out, c_out, "post" + key)

    def forward(self, x: Any, skip: Any) -> Any:
        x = self.unpool(self.enter(x))
        return self.block(x.replace_feature(x.features + skip.features))


class Context(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.axes = nn.ModuleList()
        for kernel in ((3, 1, 1), (1, 3, 1), (1, 1, 3)):
            subm = conv(spconv.SubMConv3d, channels, channels, kernel, f"context{kernel}")
            self.axes.append(spconv.SparseSequential(subm, nn.BatchNorm1d(channels), nn.Sigmoid()))

    def forward(self, x: Any) -> Any:
        gates = [axis(x).features for axis in self.axes]
        return x.replace_feature((gates[0] + gates[1] + gates[2]) * x.features)


class Cells(nn.Module):
    def __init__(self, c_in: int, w: int) -> None:
        super().__init__()
        self.enter = Block(c_in, w, "enter")
        strides = [(2, 2, 2), (2, 2, 2), (2, 2, 1), (2, 2, 1)]
        wide = [w, 2 * w, 4 * w, 8 * w, 16 * w]
        self.down = nn.ModuleList(
            Down(wide[i], wide[i + 1], strides[i], f"down{i + 1}") for i in range(4)
        )
        self.up = nn.ModuleList(
            [
                Up(16 * w, 16 * w, "down4"),
                Up(16 * w, 8 * w, "down3"),
                Up(8 * w, 4 * w, "down2"),
                Up(4 * w, 2 * w, "down1"),
            ]
        )
        self.context = Context(2 * w)

    def forward(self, x: Any) -> Any:
        x = self.enter(x)
        skips = []
        for down in self.down:
            skips.append(down.block(x))
            x = down.pool(skips[-1])
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        gated = self.context(x)
        return gated.replace_feature(torch.cat([gated.features, x.features], 1))


class Twin(nn.Module):
    """Its points are double, and its cells those of torch.unique."""

    def __init__(self, classes: int, width: int, cell_channels: int) -> None:
        super().__init__()
        self.points = nn.Sequential(
            nn.BatchNorm1d(9),
            nn.Linear(9, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 128),
            nn.BatchNorm1d(128),
            nn.ReLU(),
            nn.Linear(128, 256),
        )
        self.compress = nn.Sequential(nn.Linear(256, cell_channels), nn.ReLU())
        self.cells = Cells(cell_channels, width)
        self.cell_head = spconv.SubMConv3d(4 * width, classes, 3, indice_key="logits")
        self.refine = nn.Sequential(
            nn.Linear(256 + 4 * width, 4 * width),
            nn.BatchNorm1d(4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, classes),
        )

    @staticmethod
    def describe(points: Tensor, batch_index: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = points[:, :3].double().unbind(1)
        place = torch.stack([(x**2 + y**2).sqrt(), torch.atan2(y, x), z], 1)
        low, high = torch.tensor(CYLINDER, dtype=torch.float64, device=points.device).view(2, 3)
        size = (high - low) / torch.tensor(SHAPE, device=points.device)
        cell = torch.floor((place - low) / size)
        centre = (cell + 0.5) * size + low
        features = torch.cat([place - centre, place, points[:, :2], points[:, 3:]], 1)
        return features, torch.cat([batch_index[:, None], cell.long()], 1)

    def forward(self, features: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
        unique, inverse = torch.unique(cells, return_inverse=True, dim=0)
        points = self.points(features)
        pooled = torch_scatter.scatter_max(points, inverse, dim=0)[0]
        x = spconv.SparseConvTensor(self.compress(pooled), unique.int(), list(SHAPE), 2)
        x = self.cells(x)
        logits = self.refine(torch.cat([points, x.features[inverse]], 1))
        return logits, self.cell_head(x).features


@pytest.mark.parametrize("training", [False, True])
def test_equals_its_twin(device: torch.device, training: bool) -> None:
    points, batch_index = (t.to(device) for t in scan())
    network, twin = Cylinder3D(CLASSES, 2, 4), Twin(CLASSES, 2, 4)
    make_interesting(network)
    load(twin, network, as_spconv)
    network.double().to(device).train(training)
    twin.double().to(device).train(training)
    features, voxels = partition(points, batch_index, SHAPE)
    described, cells = twin.describe(points, batch_index)
    assert_close(features.double(), described, rtol=1e-4, atol=1e-5)
    got, want = network(described, voxels), twin(described, cells)
    for ours, theirs in zip(got, want, strict=True):
        assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    outs = [torch.cat(out) for out in (got, want)]
    assert_same_gradients(network, outs[0], twin, outs[1], as_spconv)


def test_points_outside_belong_to_the_nearest_cell(device: torch.device) -> None:
    points = torch.tensor([[90.0, 0, 0, 0], [1, 0, -9, 0], [1, 0, 9, 0], [0, 0, 0, 0]])
    features, voxels = partition(points.to(device))
    cells = voxels.indices[voxels.point_rows].tolist()
    assert cells == [[0, 479, 180, 21], [0, 9, 180, 0], [0, 9, 180, 31], [0, 0, 180, 21]]
    assert_close(features[1, :3].cpu(), torch.tensor([1 - 9.5 / 9.6, -math.pi / 360, -5.09375]))


def test_training_goes_down(device: torch.device) -> None:
    points, batch_index = (t.to(device) for t in scan(300))
    network = Cylinder3D(CLASSES, 4).to(device)
    features, voxels = partition(points, batch_index, SHAPE)
    labels = (points[:, 2] + 4).long().clamp(0, CLASSES - 1)
    found = losses(network, lambda: network(features, voxels)[0], labels)
    assert found[-1] < 0.7 * found[0]


@pytest.mark.cpu_kernels("whole networks take minutes on the emulated device")
def test_it_labels_a_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points, _ = scan(500)
    labels = cylinder3d.main([save_scan(points, tmp_path)])
    assert labels.shape == (500,)
    assert bool((labels >= 0).all() & (labels < 20).all())
    printed = capsys.readouterr().out
    assert "points (500, 4)" in printed
    assert "million parameters" in printed
