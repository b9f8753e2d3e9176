"""The U-Net of docs/layers.md learns."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from code_blocks import python_blocks
from torch import Tensor, nn

from elite_ops import SparseTensor

MAX_LINES = 40


def unet_code() -> str:
    (code,) = (block for block in python_blocks("docs/layers.md") if "class UNet" in block)
    return code


def make_unet(in_channels: int, out_channels: int, width: int) -> nn.Module:
    names: dict[str, type[nn.Module]] = {}
    exec(unet_code(), names)
    return names["UNet"](in_channels, out_channels, width)


def clustered_voxels(batch_size: int, size: int, seed: int) -> SparseTensor:
    """Grids that are densely occupied in some places and thinly in others; features of one."""
    generator = torch.Generator().manual_seed(seed)
    density = torch.rand(batch_size, 1, 4, 4, 4, generator=generator) ** 2
    density = F.interpolate(density, size=(size,) * 3, mode="trilinear")
    occupied = torch.rand(density.shape, generator=generator) < density
    return SparseTensor.from_dense(occupied.float())


def fullness(x: SparseTensor) -> Tensor:  # [V, 1]
    """How full the 9 x 9 x 9 cells around each voxel are, in units of the standard deviation."""
    around = F.avg_pool3d(x.dense(), 9, stride=1, padding=4)
    at_voxels = around.movedim(1, -1)[tuple(x.indices.long().unbind(1))]
    return (at_voxels - at_voxels.mean()) / at_voxels.std()


def test_the_unet_is_short() -> None:
    assert len(unet_code().strip().splitlines()) <= MAX_LINES


@pytest.mark.cpu_kernels
def test_the_unet_learns_how_full_its_surroundings_are() -> None:
    """Nothing but the pattern of the voxels tells, and no kernel sees all of it alone."""
    torch.manual_seed(0)
    x, unseen = clustered_voxels(2, 12, seed=0), clustered_voxels(2, 12, seed=1)
    network = make_unet(1, 1, width=8)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    losses = []
    for _ in range(40):
        loss = F.mse_loss(network(x).features, fullness(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert losses[-1] < losses[0] / 10
    with torch.no_grad():
        network.eval()
        error = F.mse_loss(network(unseen).features, fullness(unseen)).item()
    assert error < 0.7  # 1 is that of the mean
