"""`order_rows` against its definition, and what it must not change: the convolution."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from maps import move, symmetric_map
from torch import Tensor
from torch.library import opcheck

from elite_ops import (
    KernelMap,
    build_kernel_map,
    check_device_errors,
    order_rows,
    sparse_conv,
    voxelize,
)
from elite_ops.reference.order_rows import order_rows as reference

SHAPE = (9, 8, 11)


def random_map(num_voxels: int, kernel_size: Any = 3) -> KernelMap:
    generator = torch.Generator().manual_seed(num_voxels)
    cells = torch.randperm(SHAPE[0] * SHAPE[1] * SHAPE[2], generator=generator)[:num_voxels]
    x, yz = cells // (SHAPE[1] * SHAPE[2]), cells % (SHAPE[1] * SHAPE[2])
    columns = [torch.zeros_like(x), x, yz // SHAPE[2], yz % SHAPE[2]]
    indices = torch.stack(columns, dim=1).int()
    return build_kernel_map(indices, spatial_shape=SHAPE, batch_size=1, kernel_size=kernel_size)


def check(kernel_map: KernelMap) -> KernelMap:
    got, want = order_rows(kernel_map), reference(kernel_map)
    assert got.row_order is not None
    assert want.row_order is not None
    assert torch.equal(got.row_order.order, want.row_order.order)
    assert torch.equal(got.row_order.in_rows, want.row_order.in_rows)
    assert got.row_order.order.dtype == torch.int32
    assert got.in_rows is kernel_map.in_rows
    return got


def test_example_by_hand(device: torch.device) -> None:
    # Words (columns, layers): row 0 meets offsets 1 and 2, row 1 offset 1, row 2 offsets 0 and 1.
    table = torch.tensor([[-1, -1, 0], [0, 1, 2], [2, -1, -1]], dtype=torch.int32, device=device)
    row_order = order_rows(symmetric_map(table, (1, 1, 3))).row_order
    # The Gray code passes 1|010 (12), then 1|110 (11) and 1|011 (13): 11, 12, 13 by place.
    assert row_order is not None
    places = [int("1" + "".join(b), 2) for b in ("110", "010", "011")]
    place = {word: n for n in range(16) for word in [n ^ (n >> 1)]}
    want = sorted(range(3), key=lambda row: place[places[row]])
    assert row_order.order.tolist() == want
    assert torch.equal(row_order.in_rows, table[:, want])


@pytest.mark.parametrize("kernel_size", [1, 3, (3, 1, 5), (1, 3, 3), 7])
@pytest.mark.parametrize("num_voxels", [0, 1, 31, 33, 700])
def test_equals_reference(device: torch.device, num_voxels: int, kernel_size: Any) -> None:
    check(move(random_map(num_voxels, kernel_size), device))


@pytest.mark.parametrize("scale", [1, 8])
def test_equals_reference_on_a_real_scan(
    device: torch.device, real_points: Tensor, scale: int
) -> None:
    (voxels,) = voxelize(
        real_points.to(device),
        point_cloud_range=(-50.0, -50.0, -4.0, 50.0, 50.0, 2.0),
        spatial_shape=(1000, 1000, 60),
        scales=(scale,),
        kernel_size=3,
    )
    ordered = check(voxels.submanifold_map())
    assert ordered.row_order is not None
    tiles = [waste(table) for table in (ordered.in_rows, ordered.row_order.in_rows)]
    assert tiles[1] < 0.7 * tiles[0]


def waste(in_rows: Tensor, rows: int = 16) -> float:
    """Products of tiles of 16 rows, over those that are needed."""
    meets = in_rows >= 0
    tiles = torch.nn.functional.pad(meets, (0, -meets.shape[1] % rows)).unflatten(1, (-1, rows))
    return float(tiles.any(2).sum() * rows / meets.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_convolutions_keep_their_bits(device: torch.device, dtype: torch.dtype) -> None:
    kernel_map = move(random_map(300), device)
    generator = torch.Generator().manual_seed(0)
    shapes = [(300, 16), (27, 16, 32), (300, 32)]
    tensors = [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]
    *inputs, grad_out = tensors
    results = []
    for chosen in (kernel_map, order_rows(kernel_map)):
        leaves = [t.clone().requires_grad_() for t in inputs]
        out = sparse_conv(leaves[0], leaves[1], chosen)
        results.append([out, *torch.autograd.grad(out, leaves, grad_out)])
    for got, want in zip(*results, strict=True):
        assert torch.equal(got, want)


def test_columns_that_are_not_contiguous(device: torch.device) -> None:
    table = move(random_map(200), device).in_rows
    strided = torch.stack([table, table], dim=2)[..., 0]
    check(symmetric_map(strided))


def test_opcheck(device: torch.device) -> None:
    table = move(random_map(50), device).in_rows
    opcheck(torch.ops.elite_ops.order_rows.default, (table, (3, 3, 3)))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    def order(table: Tensor) -> Tensor:
        row_order = order_rows(symmetric_map(table)).row_order
        assert row_order is not None
        return row_order.order + 1

    compiled = torch.compile(order, fullgraph=True, backend="aot_eager", dynamic=True)
    for size in (40, 300):
        table = move(random_map(size), device).in_rows
        assert torch.equal(compiled(table), order(table))


REJECTED: list[tuple[Any, Any, type[Exception], str]] = [
    (torch.zeros(27).int(), (3, 3, 3), ValueError, "`in_rows` must have 2 dimensions"),
    (torch.zeros(27, 2).long(), (3, 3, 3), TypeError, "`in_rows` must be Int, got Long"),
    (torch.zeros(26, 2).int(), (3, 3, 3), ValueError, "`in_rows` must have size 27"),
    (torch.zeros(27, 2).int(), (3, 9), ValueError, "`kernel_size` must have 3 entries"),
    (torch.zeros(27, 2).int(), (3, 9, 1), ValueError, "`kernel_size` must be between 1 and 7"),
]


@pytest.mark.parametrize(("in_rows", "kernel_size", "error", "message"), REJECTED)
def test_rejects(in_rows: Tensor, kernel_size: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"order_rows: .*{message}"):
        torch.ops.elite_ops.order_rows(in_rows, kernel_size)


def test_rejects_a_map_of_which_not_all_rows_are_valid() -> None:
    padded = symmetric_map(random_map(20).in_rows, num_rows=torch.tensor(15))
    with pytest.raises(ValueError, match="`kernel_map` must have valid rows alone"):
        order_rows(padded)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [(2, 5), (64, 64)])
def test_an_order_that_names_no_row_is_reported_on_cuda(
    cuda: torch.device, channels: tuple[int, int]
) -> None:
    row_order = order_rows(move(random_map(50), cuda)).row_order
    assert row_order is not None
    order = row_order.order.clone()
    order[7] = 1000
    table = row_order.in_rows
    features = torch.randn(50, channels[0], device=cuda).half()
    weight = torch.randn(27, *channels, device=cuda).half()
    torch.ops.elite_ops.sparse_conv(features, weight, None, table, table, True, order, table)
    with pytest.raises(IndexError, match=r"sparse_conv: .* and `order` a row of the result"):
        check_device_errors()
