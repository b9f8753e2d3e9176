"""A weight that is infinite or NaN reaches the rows that meet it, and no others."""

from __future__ import annotations

import pytest
import torch
from forced_variant import forced_variant
from torch import Tensor
from torch.testing import assert_close

from elite_ops import build_kernel_map, linear_fused, order_rows, sparse_conv, sparse_conv_fused

BAD_OFFSET = 4
CASES = [
    (torch.float32, (5, 7)),
    (torch.float64, (16, 64)),
    (torch.float16, (64, 64)),
    (torch.float16, (48, 24)),
    (torch.bfloat16, (64, 72)),
]


def some_voxels(device: torch.device) -> Tensor:
    """As many as two slabs and a half, about half of which have a neighbour under an offset."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.cartesian_prod(*[torch.arange(n) for n in (1, 5, 5, 6)]).int()
    return cells[torch.rand(len(cells), generator=generator) < 0.5].to(device)


def random(*shape: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(
        device, dtype
    )


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize(("dtype", "channels"), CASES)
@pytest.mark.parametrize("grouped", [False, True])
def test_of_an_offset(
    device: torch.device,
    dtype: torch.dtype,
    channels: tuple[int, int],
    bad: float,
    grouped: bool,
) -> None:
    voxels = some_voxels(device)
    kernel_map = build_kernel_map(voxels, spatial_shape=(5, 5, 6), batch_size=1)
    if grouped:
        kernel_map = order_rows(kernel_map)
    features = random(len(voxels), channels[0], dtype=dtype, device=device)
    weight = random(27, *channels, dtype=dtype, device=device)
    bias = random(channels[1], dtype=dtype, device=device)
    residual = random(len(voxels), channels[1], dtype=dtype, device=device)
    meets = kernel_map.in_rows[BAD_OFFSET] >= 0
    assert 0 < int(meets.sum()) < len(voxels)

    def both(w: Tensor) -> list[Tensor]:
        terms = {"residual": residual, "negative_slope": 0.1}
        return [
            sparse_conv(features, w, kernel_map, bias),
            sparse_conv_fused(features, w, kernel_map, bias, **terms),
        ]

    poisoned, without = weight.clone(), weight.clone()
    poisoned[BAD_OFFSET], without[BAD_OFFSET] = bad, 0
    for got, want in zip(both(poisoned), both(without), strict=True):
        tolerance = {torch.float16: 4e-3, torch.bfloat16: 3e-2}.get(dtype, 1e-5)
        assert_close(got[~meets], want[~meets], rtol=tolerance, atol=tolerance)
        assert not got[meets].isfinite().any()


@pytest.mark.parametrize("variant", range(1, 4))
def test_of_every_variant(device: torch.device, variant: int) -> None:
    voxels = some_voxels(device)
    table = build_kernel_map(voxels, spatial_shape=(5, 5, 6), batch_size=1).in_rows
    meets = table[BAD_OFFSET] >= 0
    features = random(len(voxels), 64, dtype=torch.float16, device=device)
    weight = random(27, 64, 64, dtype=torch.float16, device=device)
    weight[BAD_OFFSET, 3, 5] = torch.inf
    bias = torch.zeros(64, dtype=torch.float16, device=device)
    with forced_variant(variant):
        got = torch.ops.elite_ops.sparse_conv_fused(features, weight, bias, table, None, 1.0)
    is_bad = ~got.isfinite()
    assert is_bad[meets, 5].all()
    assert int(is_bad.sum()) == int(meets.sum())


@pytest.mark.parametrize(("dtype", "channels"), CASES)
def test_of_rows_that_are_none(
    device: torch.device, dtype: torch.dtype, channels: tuple[int, int]
) -> None:
    features = random(40, channels[0], dtype=dtype, device=device)
    weight = torch.full(channels, torch.inf, dtype=dtype, device=device)
    bias = random(channels[1], dtype=dtype, device=device)
    rows = torch.arange(40, dtype=torch.int32, device=device)
    rows[::2] = -1
    got = linear_fused(features, weight, bias, rows=rows)
    assert torch.equal(got[::2], bias.expand(20, -1))
    assert not got[1::2].isfinite().any()


@pytest.mark.parametrize(("dtype", "channels"), CASES)
def test_of_gradients(device: torch.device, dtype: torch.dtype, channels: tuple[int, int]) -> None:
    """The input's gradient multiplies with the weights, the weights' with the output's gradient."""
    voxels = some_voxels(device)
    kernel_map = build_kernel_map(voxels, spatial_shape=(5, 5, 6), batch_size=1)
    features = random(len(voxels), channels[0], dtype=dtype, device=device).requires_grad_()
    weight = random(27, *channels, dtype=dtype, device=device)
    weight[BAD_OFFSET] = torch.inf
    weight.requires_grad_()
    grad_out = random(len(voxels), channels[1], dtype=dtype, device=device)
    alone = int((kernel_map.in_rows[0] < 0).nonzero()[0])  # an output row that offset 0 misses
    grad_out[alone] = torch.nan
    out = sparse_conv(features, weight, kernel_map)
    of_features, of_weight = torch.autograd.grad(out, (features, weight), grad_out)
    assert of_weight[0].isfinite().all()
    spoilt = torch.zeros(len(voxels), dtype=torch.bool, device=device)
    for rows in (kernel_map.in_rows[BAD_OFFSET], kernel_map.in_rows[:, alone]):
        spoilt[rows[rows >= 0].long()] = True
    assert of_features[~spoilt].isfinite().all()
    assert not of_features[spoilt].isfinite().all(1).any()
