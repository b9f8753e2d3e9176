"""Whole networks in both releases, which differ in coordinates alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from dictionaries import convolved, floored, random_cells
from networks import CHANNELS, MinkUNet, PointsAndVoxels
from torch import Tensor, nn
from torch.testing import assert_close

from elite_ops.compat import torchsparse
from elite_ops.compat.torchsparse import nn as spnn
from elite_ops.compat.torchsparse.versions import convention


@pytest.fixture(autouse=True)
def the_default_again() -> Iterator[None]:
    yield
    torchsparse.use_version("2.1")


def batch(count: int, device: torch.device, high: int = 8) -> tuple[Tensor, Tensor]:
    """Cells with an even extent, which both releases bring back whole, and features."""
    cells = random_cells(count, high=high)
    cells += [(b, high - 1, high - 1, high - 1) for b in range(2)]
    coords = torch.tensor(sorted(set(cells)), dtype=torch.int32, device=device)
    return coords, torch.randn(len(coords), 4, device=device)


def tensor(coords: Tensor, feats: Tensor) -> torchsparse.SparseTensor:
    return torchsparse.SparseTensor(feats, convention().back(coords, (1, 1, 1)))


def test_names_of_parameters() -> None:
    names = [*MinkUNet().state_dict()]
    assert names[0] == "stem.net.0.kernel"
    assert "stage1.1.downsample.0.kernel" in names
    assert [n for n in names if n.startswith("up1.0.net.1.")] == [
        f"up1.0.net.1.{n}"
        for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    ]
    shapes = {n: tuple(p.shape) for n, p in MinkUNet().named_parameters() if n.endswith("kernel")}
    assert shapes["stem.net.0.kernel"] == (27, 4, CHANNELS)
    assert shapes["stage1.0.net.0.kernel"] == (8, CHANNELS, CHANNELS)
    assert shapes["stage1.1.downsample.0.kernel"] == (CHANNELS, 2 * CHANNELS)


def test_releases_agree(device: torch.device) -> None:
    """On voxels that both keep: 2.1's convolutions of kernel and stride 2 are 1.4's there."""
    coords, feats = batch(200, device)
    network = MinkUNet().to(device)
    outs, grads = [], []
    for release in ("2.1", "1.4"):
        with torchsparse.using_version(release):
            out = network(tensor(coords, feats))
        outs.append(out)
        grads.append(torch.autograd.grad(out.square().sum(), network.parameters()))
    assert outs[0].shape == (len(coords), 5)
    assert_close(outs[0], outs[1])
    for ours, theirs in zip(*grads, strict=True):
        assert_close(ours, theirs)


def test_a_network_equals_dictionaries(device: torch.device) -> None:
    """The stem and the first strided convolution, with the norms of the network."""
    coords, feats = batch(150, device)
    network = MinkUNet().double().eval().to(device)
    with torchsparse.using_version("1.4"):
        x0 = network.stem(tensor(coords, feats.double()))
        x1 = network.stage1[0](x0)
        ours = convention().first(x1.coords) // torch.tensor([1, 2, 2, 2], device=device)
    cells = [tuple(row) for row in coords.tolist()]
    rows = {cell: i for i, cell in enumerate(cells)}

    def block(module: nn.Module, feats: Tensor, out: list, stride: int, begin: int) -> Tensor:
        conv, norm = module.net[0], module.net[1]
        three = [(n,) * 3 for n in (conv.kernel_size[0], stride, begin)]
        found = convolved(rows, out, feats, conv.kernel.detach().cpu(), *three)
        return (found / (1 + norm.eps) ** 0.5).relu()

    fine = block(network.stem, feats.double().cpu(), cells, 1, 1)
    coarse = floored(cells, (2, 2, 2))
    assert [tuple(row) for row in ours.tolist()] == coarse
    assert_close(x0.F.detach().cpu(), fine)
    assert_close(x1.F.detach().cpu(), block(network.stage1[0], fine, coarse, 2, 0))


def test_points_and_voxels_of_both_releases_agree(device: torch.device) -> None:
    coords, feats = batch(300, device, high=16)
    outs, grads, state = [], [], PointsAndVoxels("2.1").state_dict()
    for release in ("2.1", "1.4"):
        with torchsparse.using_version(release):
            network = PointsAndVoxels(release).to(device)
            network.load_state_dict(state)
            out = network(tensor(coords, feats))
        outs.append(out)
        grads.append(torch.autograd.grad(out.square().sum(), network.parameters()))
    assert outs[0].shape == (len(coords), 2 * CHANNELS)
    assert_close(outs[0], outs[1])
    for ours, theirs in zip(*grads, strict=True):
        assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_training_goes_down(device: torch.device) -> None:
    coords, feats = batch(150, device)
    labels = coords[:, 1].long() % 5
    network = MinkUNet().to(device)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(network(tensor(coords, feats)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_same_bits_on_any_number_of_threads(device: torch.device) -> None:
    coords, feats = batch(300, device)
    layers = [spnn.Conv3d(4, 8), spnn.Conv3d(8, 8, 2, 2), spnn.Conv3d(8, 8, 2, 2, transposed=True)]
    network, results = nn.Sequential(*layers).to(device), []
    before = torch.get_num_threads()
    for number in (1, 2, 5):
        torch.set_num_threads(number)
        out = network(tensor(coords, feats)).F
        grads = torch.autograd.grad(out.square().sum(), network.parameters())
        results.append([out, *grads])
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for r in results for a, b in zip(r, results[0], strict=True))
