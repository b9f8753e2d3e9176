"""Every layer in half precision, forward and backward, and under autocast.

Sums are formed in float32, so that a result is the float64 one of the same half inputs, rounded
once: half a unit in the last place, and what float32 loses in a sum of some hundred terms. Only
where a channel of a depthwise convolution has several outputs, its gradient is a sum of theirs,
each of which is rounded.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from layer_cases import draw
from torch import Tensor
from torch.testing import assert_close

from elite_ops import SparseTensor, nn

ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
SUMS = 1e-5  # 2^-24 of sums of absolute values below some 100
LAYERS: dict[str, Any] = {
    "submanifold": lambda: nn.SubmanifoldConv3d(16, 24, 3),
    "submanifold, even": lambda: nn.SubmanifoldConv3d(16, 5, (2, 3, 4), dilation=2),
    "strided": lambda: nn.SparseConv3d(16, 33, 3, 2, 1),
    "transposed": lambda: nn.SparseConvTranspose3d(16, 8, 3, 2, 1, 1),
    "inverse": lambda: nn.SparseInverseConv3d(16, 12, 2),
    "groups": lambda: nn.SparseConv3d(16, 8, 3, 2, 1, groups=4),
    "transposed, groups": lambda: nn.SparseConvTranspose3d(16, 8, 2, 2, groups=2),
    "depthwise": lambda: nn.SubmanifoldConv3d(16, 16, 3, groups=16),
    "depthwise, more outputs": lambda: nn.SparseConv3d(16, 32, 3, 2, groups=16),
    "one channel": lambda: nn.SubmanifoldConv3d(16, 1, 3, bias=False),
    "max": lambda: nn.SparseMaxPool3d(3, 2, 1),
    "average": lambda: nn.SparseAvgPool3d(3, 2, 1),
    "global max": nn.GlobalMaxPool,
    "global average": nn.GlobalAvgPool,
}
each_layer = pytest.mark.parametrize("name", LAYERS)
each_dtype = pytest.mark.parametrize("dtype", list(ROUNDING))


def features_for(name: str, device: torch.device) -> SparseTensor:
    """In float32; of an inverse convolution on voxels that have an origin."""
    case = replace(draw(0), shape=(9, 8, 7), batch_size=3, empty=1, density=0.2)
    x = case.sparse_tensor(device, 16)
    if name == "inverse":
        voxels = nn.SparseMaxPool3d(2)(x).voxels
        x = SparseTensor(x.features[: len(voxels)], voxels)
    return x.detach().float()


def forward(layer: Any, x: SparseTensor) -> Tensor:
    out = layer(x)
    features: Tensor = out if isinstance(out, Tensor) else out.features
    return features


def leaf(x: SparseTensor, dtype: torch.dtype) -> SparseTensor:
    return x.replace(x.features.detach().to(dtype).requires_grad_())


def check(name: str, device: torch.device, dtype: torch.dtype, *, autocast: bool) -> None:
    """Against the same layer in float64, with inputs, weights and gradients rounded to `dtype`."""
    layer = LAYERS[name]().to(device)
    wide = LAYERS[name]().to(device).double()
    wide.load_state_dict({key: value.to(dtype) for key, value in layer.state_dict().items()})
    is_pool = not list(layer.parameters())
    rounded = features_for(name, device).to(dtype)
    if autocast:
        x = leaf(rounded if is_pool else features_for(name, device), torch.float32)
        with torch.autocast(device.type, dtype):
            out = forward(layer, x)
        assert out.dtype == (torch.float32 if is_pool else dtype)
    else:
        layer = layer.to(dtype)
        x = leaf(rounded, dtype)
        out = forward(layer, x)
        assert out.dtype == dtype
    reference = leaf(rounded, torch.float64)
    want = forward(wide, reference)
    assert out.shape == want.shape
    grad_out = torch.randn_like(want).to(dtype).to(out.dtype)
    gots = [out, *torch.autograd.grad(out, [x.features, *layer.parameters()], grad_out)]
    wants = torch.autograd.grad(want, [reference.features, *wide.parameters()], grad_out.double())
    for got, wanted in zip(gots, [want, *wants], strict=True):
        assert got.dtype == (out.dtype if got is out or not autocast else torch.float32)
        parts = wanted.abs().max().item() if name == "depthwise, more outputs" else 0.0
        unit = 1.01 * ROUNDING[dtype]
        assert_close(got.double(), wanted, rtol=unit, atol=SUMS + 2 * unit * parts)


@each_dtype
@each_layer
def test_half_types(device: torch.device, name: str, dtype: torch.dtype) -> None:
    check(name, device, dtype, autocast=False)


@each_dtype
@each_layer
def test_autocast(device: torch.device, name: str, dtype: torch.dtype) -> None:
    """Convolutions take its dtype, and their parameters get gradients of their own; pools don't."""
    check(name, device, dtype, autocast=True)
