"""A layer on voxels against torch's on the dense grid: its voxels, values and all gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from elite_ops import SparseTensor, VoxelSet
from elite_ops.nn.convolution import SparseConvolution

# (grid, weight in torch's layout, bias) -> grid
Dense = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def at_voxels(dense: Tensor, x: SparseTensor) -> Tensor:
    return dense.movedim(1, -1)[tuple(x.indices.long().unbind(1))]


def check_layer(
    conv: SparseConvolution, x: SparseTensor, dense: Dense, output: VoxelSet | None = None
) -> SparseTensor:
    """`dense(grid, weight, bias)` must equal the layer at its voxels, with all gradients."""
    conv = conv.to(x.features)
    out = conv(x) if output is None else conv(x, output)
    weight = (
        conv.torch_weight.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
    )
    bias = None if conv.bias is None else conv.bias.detach().clone().requires_grad_()
    features = x.features.detach().clone().requires_grad_()
    grid = dense(SparseTensor(features, x.voxels).dense(), weight, bias)
    assert tuple(grid.shape[2:]) == out.spatial_shape
    want = at_voxels(grid, out)
    assert_close(out.features, want, rtol=1e-9, atol=1e-9)
    grad_out = torch.randn_like(want)
    inputs = [x.features, conv.weight, *([] if conv.bias is None else [conv.bias])]
    dense_inputs = [features, weight, *([] if bias is None else [bias])]
    got_grads = list(torch.autograd.grad(out.features, inputs, grad_out))
    want_grads = torch.autograd.grad(want, dense_inputs, grad_out)
    with torch.no_grad():
        conv.weight.copy_(got_grads[1])
        got_grads[1] = conv.torch_weight.clone()
    for got, wanted in zip(got_grads, want_grads, strict=True):
        assert_close(got, wanted, rtol=1e-9, atol=1e-9)
    return out


def check_reached(out: SparseTensor, x: SparseTensor, ones_conv: Any) -> None:
    """The output voxels are those where a convolution of ones is not zero, in order."""
    voxels = VoxelSet(x.indices.cpu(), x.spatial_shape, x.batch_size)
    ones = SparseTensor(torch.ones(len(x), 1, dtype=torch.float64), voxels).dense()
    assert torch.equal(out.indices.cpu().long(), ones_conv(ones)[:, 0].nonzero())
