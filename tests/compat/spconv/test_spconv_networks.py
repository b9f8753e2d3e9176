"""Networks as detectors and segmenters have them, each written once for any spconv.

With the same weights they equal the same network on spconv's CPU build, and on dense grids.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import dense_spconv
import pytest
import torch
from spconv_scene import in_order, one_thread, the_real_one
from torch import Tensor, nn
from torch.testing import assert_close

import elite_ops.compat.spconv.pytorch as ours

SHAPE, BATCH_SIZE = [17, 12, 10], 2


def block(
    spconv: Any, c_in: int, c_out: int, kernel: Any, key: str, kind: str = "subm", **options: Any
) -> Any:
    """A convolution, a norm, and an activation."""
    if kind == "subm":
        conv = spconv.SubMConv3d(c_in, c_out, kernel, bias=False, indice_key=key)
    elif kind == "down":
        conv = spconv.SparseConv3d(c_in, c_out, kernel, bias=False, indice_key=key, **options)
    else:
        conv = spconv.SparseInverseConv3d(c_in, c_out, kernel, indice_key=key, bias=False)
    norm = nn.BatchNorm1d(c_out, eps=1e-3, momentum=0.01)
    return spconv.SparseSequential(conv, norm, nn.ReLU())


class Backbone(nn.Module):
    """Eight times coarser in steps of two, then flattened along z: a detector's backbone."""

    def __init__(self, spconv: Any) -> None:
        super().__init__()
        self.spconv = spconv
        subm, down = partial(block, spconv), partial(block, spconv, kind="down")
        self.conv_input = spconv.SparseSequential(
            spconv.SubMConv3d(4, 8, 3, padding=1, bias=False, indice_key="subm1"),
            nn.BatchNorm1d(8, eps=1e-3, momentum=0.01),
            nn.ReLU(),
        )
        self.conv1 = spconv.SparseSequential(subm(8, 8, 3, "subm1"))
        self.conv2 = spconv.SparseSequential(
            down(8, 12, 3, "spconv2", stride=2, padding=1), subm(12, 12, 3, "subm2")
        )
        self.conv3 = spconv.SparseSequential(
            down(12, 16, 3, "spconv3", stride=2, padding=1), subm(16, 16, 3, "subm3")
        )
        self.conv4 = spconv.SparseSequential(
            down(16, 16, 3, "spconv4", stride=2, padding=(0, 1, 1)), subm(16, 16, 3, "subm4")
        )
        self.conv_out = down(16, 24, (2, 1, 1), "spconv_down2", stride=(1, 1, 1), padding=0)

    def forward(self, features: Tensor, indices: Tensor) -> Tensor:
        x = self.spconv.SparseConvTensor(features, indices, SHAPE, BATCH_SIZE)
        for stage in (self.conv_input, self.conv1, self.conv2, self.conv3, self.conv4):
            x = stage(x)
        grid = self.conv_out(x).dense()
        b, c, z, y, x = grid.shape
        return grid.reshape(b, c * z, y, x)


class UNet(nn.Module):
    """Recursive, with skips: each level goes down, calls the next, comes back and is joined."""

    def __init__(self, spconv: Any, widths: tuple[int, ...] = (8, 12, 16), level: int = 1) -> None:
        super().__init__()
        wide = widths[0]
        self.blocks = block(spconv, wide, wide, 3, f"subm{level}")
        self.inner = None
        if len(widths) > 1:
            key = f"spconv{level}"
            self.conv = block(spconv, wide, widths[1], 2, key, kind="down", stride=2)
            self.inner = UNet(spconv, widths[1:], level + 1)
            self.deconv = block(spconv, widths[1], wide, 2, key, kind="up")
            self.tail = block(spconv, 2 * wide, wide, 3, f"subm{level}")
            self.shortcut = spconv.SubMConv3d(2 * wide, wide, 1, bias=False)

    def forward(self, x: Any) -> Any:
        x = self.blocks(x)
        if self.inner is None:
            return x
        up = self.deconv(self.inner(self.conv(x)))
        joined = x.replace_feature(torch.cat([x.features, up.features], 1))
        out = self.tail(joined)
        return out.replace_feature(out.features + self.shortcut(joined).features)


class Segmenter(nn.Module):
    def __init__(self, spconv: Any) -> None:
        super().__init__()
        self.spconv = spconv
        self.input_conv = spconv.SparseSequential(
            spconv.SubMConv3d(4, 8, 3, padding=1, bias=False, indice_key="subm1")
        )
        self.unet = UNet(spconv)
        self.head = spconv.SparseSequential(nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 5))

    def forward(self, features: Tensor, indices: Tensor) -> Tensor:
        x = self.spconv.SparseConvTensor(features, indices, SHAPE, BATCH_SIZE)
        return self.head(self.unet(self.input_conv(x))).features


def scan() -> tuple[Tensor, Tensor]:
    """Voxels of a surface, in order of their indices."""
    generator = torch.Generator().manual_seed(2)
    height = torch.randint(0, 6, (BATCH_SIZE, *SHAPE[1:]), generator=generator)
    occupied = torch.arange(SHAPE[0]).view(1, -1, 1, 1) == height.unsqueeze(1)
    occupied &= torch.rand(occupied.shape, generator=generator) < 0.7
    occupied[0, 6:16, 3:5, 4] = True
    indices = occupied.nonzero().int().contiguous()
    assert torch.equal(in_order(indices), torch.arange(len(indices)))
    return torch.randn(len(indices), 4, generator=generator), indices


def results(make: Callable[[Any], nn.Module], spconv: Any, dtype: torch.dtype) -> list[Tensor]:
    """Two steps of training, and a prediction: outputs, gradients, running statistics."""
    torch.manual_seed(0)
    network = make(ours)
    state = network.state_dict()
    network = make(spconv)
    network.load_state_dict(state)
    network.to(dtype)
    features, indices = scan()
    found = []
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for _ in range(2):
        given = features.to(dtype).requires_grad_()
        out = network(given, indices)
        loss = out.square().mean()
        optimizer.zero_grad()
        loss.backward()
        found += [out, given.grad, *[p.grad.clone() for p in network.parameters()]]
        optimizer.step()
    network.eval()
    with torch.no_grad():
        return [*found, network(features.to(dtype), indices)]


@pytest.mark.parametrize("make", [Backbone, Segmenter])
def test_against_dense_grids(make: Callable[[Any], nn.Module]) -> None:
    want = results(make, dense_spconv, torch.float64)
    for got, wanted in zip(results(make, ours, torch.float64), want, strict=True):
        assert_close(got, wanted)


@pytest.mark.cpu_kernels("spconv's CPU build is compared with the CPU's kernels")
@pytest.mark.parametrize("make", [Backbone, Segmenter])
def test_against_spconv(make: Callable[[Any], nn.Module]) -> None:
    with one_thread():
        want = results(make, the_real_one(), torch.float32)
    for got, wanted in zip(results(make, ours, torch.float32), want, strict=True):
        assert_close(got, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("make", [Backbone, Segmenter])
def test_compiled_in_one_graph(make: Callable[[Any], nn.Module]) -> None:
    network = make(ours)
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    found = []
    for call in (network, compiled):
        features, indices = scan()
        out = call(features.requires_grad_(), indices)
        found.append([out, *torch.autograd.grad(out.square().mean(), network.parameters())])
    for want, got in zip(*found, strict=True):
        assert_close(got, want)
