"""`build_kernel_map` against its definition, its invariants and dense convolution."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from immediate import immediate
from torch import Tensor
from torch.library import opcheck

from elite_ops import KernelMap, build_kernel_map, voxelize
from elite_ops.reference.kernel_map import build_kernel_map as reference

Shape = tuple[int, int, int]
KERNELS: list[tuple[Shape, Shape]] = [  # kernel size, dilation
    ((1, 1, 1), (1, 1, 1)),
    ((3, 3, 3), (1, 1, 1)),
    ((3, 3, 3), (2, 1, 3)),
    ((1, 3, 5), (1, 2, 1)),
    ((5, 1, 3), (1, 1, 2)),
    ((7, 7, 7), (1, 1, 1)),
]


def random_voxels(num_voxels: int, shape: Shape, batch_size: int = 2, seed: int = 0) -> Tensor:
    """Unique voxels in random order."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([batch_size, *shape])
    cells = torch.randperm(int(sizes.prod()), generator=generator)[:num_voxels]
    columns = []
    for size in sizes.flip(0):
        columns.append(cells % size)
        cells = cells // size
    return torch.stack(columns[::-1], dim=1).int()


def in_order(indices: Tensor) -> Tensor:
    return indices.unique(dim=0)


def check(indices: Tensor, **arguments: Any) -> KernelMap:
    got, want = build_kernel_map(indices, **arguments), reference(indices, **arguments)
    assert torch.equal(got.in_rows, want.in_rows)
    assert got.in_rows.dtype == torch.int32
    assert got.geometry == want.geometry
    assert got.symmetric
    assert got.out_rows is got.in_rows
    return got


def test_example_by_hand(device: torch.device) -> None:
    indices = torch.tensor([[0, 2, 0, 1], [0, 0, 0, 0], [0, 2, 0, 2], [1, 2, 0, 0]]).int()
    neighbors = build_kernel_map(
        indices.to(device), spatial_shape=(3, 1, 3), batch_size=2, kernel_size=(1, 1, 3)
    ).in_rows
    assert neighbors.tolist() == [[-1, -1, 0, -1], [0, 1, 2, 3], [2, -1, -1, -1]]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("kernel_size", "dilation"), KERNELS)
@pytest.mark.parametrize("num_voxels", [0, 1, 31, 33, 1023])
def test_equals_reference(
    device: torch.device, num_voxels: int, kernel_size: Shape, dilation: Shape, ordered: bool
) -> None:
    shape = (9, 8, 11)
    indices = random_voxels(num_voxels, shape)
    indices = (in_order(indices) if ordered else indices).to(device)
    arguments = {"kernel_size": kernel_size, "dilation": dilation}
    check(indices, spatial_shape=shape, batch_size=2, **arguments)


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_equals_reference_on_a_real_scan(
    device: torch.device, real_points: Tensor, scale: int
) -> None:
    (voxels,) = voxelize(
        real_points.to(device),
        point_cloud_range=(-50.0, -50.0, -4.0, 50.0, 50.0, 2.0),
        spatial_shape=(1000, 1000, 60),
        scales=(scale,),
    )
    arguments = {"spatial_shape": voxels.spatial_shape, "batch_size": 1}
    kernel_map = check(voxels.indices, **arguments)
    order = torch.randperm(len(voxels.indices), generator=torch.Generator().manual_seed(0))
    shuffled = check(voxels.indices[order.to(device)], **arguments)
    assert (shuffled.in_rows >= 0).sum() == (kernel_map.in_rows >= 0).sum()


@pytest.mark.parametrize("height", [63, 64, 65, 130])
def test_columns_of_one_or_more_words(device: torch.device, height: int) -> None:
    indices = random_voxels(1500, (4, 5, height)).to(device)
    check(indices, spatial_shape=(4, 5, height), batch_size=2, kernel_size=(3, 3, 5))


@pytest.mark.parametrize(("kernel_size", "dilation"), KERNELS)
def test_invariants(device: torch.device, kernel_size: Shape, dilation: Shape) -> None:
    """Each pair of voxels that an offset apart is there once, and nothing else is."""
    shape = (6, 7, 9)
    indices = random_voxels(300, shape).to(device)
    neighbors = build_kernel_map(
        indices, spatial_shape=shape, batch_size=2, kernel_size=kernel_size, dilation=dilation
    ).in_rows.long()
    num_pairs = 0
    for k, offset in enumerate(product(*(range(size) for size in kernel_size))):
        displacement = [0] + [
            (o - size // 2) * d for o, size, d in zip(offset, kernel_size, dilation, strict=True)
        ]
        out_row = (neighbors[k] >= 0).nonzero().squeeze(1)
        in_row = neighbors[k][out_row]
        step = torch.tensor(displacement, device=device)
        assert torch.equal(indices[in_row].long(), indices[out_row].long() + step)
        assert torch.equal(neighbors[len(neighbors) - 1 - k][in_row], out_row)
        num_pairs += len(out_row)
    difference = indices[None].long() - indices[:, None].long()
    reachable = difference[..., 0] == 0
    for axis in range(3):
        step = difference[..., axis + 1]
        reachable &= step % dilation[axis] == 0
        reachable &= (step // dilation[axis]).abs() <= kernel_size[axis] // 2
    assert num_pairs == reachable.sum()


@pytest.mark.parametrize(("kernel_size", "dilation"), KERNELS[:5])
def test_equals_dense_convolution(
    device: torch.device, kernel_size: Shape, dilation: Shape
) -> None:
    shape = (5, 6, 7)
    generator = torch.Generator().manual_seed(0)
    indices = random_voxels(150, shape).to(device)
    features = torch.randn(150, 3, generator=generator, dtype=torch.float64).to(device)
    weight = torch.randn(*kernel_size, 3, 4, generator=generator, dtype=torch.float64).to(device)
    arguments = {"kernel_size": kernel_size, "dilation": dilation}
    neighbors = build_kernel_map(
        indices, spatial_shape=shape, batch_size=2, **arguments
    ).in_rows.long()
    padded = torch.cat([features, features.new_zeros(1, 3)])  # row -1 is zero
    out = torch.einsum("kvi,kio->vo", padded[neighbors], weight.flatten(0, 2))

    batch, x, y, z = indices.long().unbind(1)
    dense = features.new_zeros(2, *shape, 3)
    dense[batch, x, y, z] = features
    want = torch.nn.functional.conv3d(
        dense.movedim(-1, 1),
        weight.permute(4, 3, 0, 1, 2),
        padding=[size // 2 * d for size, d in zip(kernel_size, dilation, strict=True)],
        dilation=dilation,
    ).movedim(1, -1)[batch, x, y, z]
    torch.testing.assert_close(out, want)


def test_displacements_that_leave_the_grid_meet_nothing(device: torch.device) -> None:
    """The two ends of an axis are neighbours in memory, and never in the map."""
    corners = torch.tensor(list(product(range(2), (0, 2), (0, 3), (0, 4)))).int().to(device)
    neighbors = check(corners, spatial_shape=(3, 4, 5), batch_size=2).in_rows
    centre = torch.arange(16, dtype=torch.int32, device=device)
    assert torch.equal(neighbors[13], centre)
    assert (neighbors >= 0).sum() == 16


# The bitmap on CUDA serves up to 2^20 + 256 V words, and never more than 2^24.
@pytest.mark.parametrize(("side", "num_voxels"), [(1036, 100), (4096, 62_000)])
def test_sides_of_the_bitmap_boundary(device: torch.device, side: int, num_voxels: int) -> None:
    near = random_voxels(num_voxels, (60, 60, 60), batch_size=1)
    far = near + torch.tensor([0, side - 60, side - 60, 0], dtype=torch.int32)
    indices = torch.cat([near[::2], far[1::2]]).to(device)
    arguments = {"batch_size": 1, "kernel_size": (3, 1, 3)}
    check(indices, spatial_shape=(side, side, 64), **arguments)
    check(indices, spatial_shape=(side + 1, side + 1, 64), **arguments)


def test_a_huge_grid(device: torch.device) -> None:
    side = 2**20
    near = random_voxels(500, (8, 8, 8), batch_size=1)
    far = near + torch.tensor([0, side - 8, side - 8, side - 8], dtype=torch.int32)
    indices = torch.cat([near, far]).to(device)
    check(indices, spatial_shape=(side, side, side), batch_size=1, kernel_size=5)


def test_not_contiguous(device: torch.device) -> None:
    indices = random_voxels(400, (8, 8, 8)).to(device)
    want = build_kernel_map(indices[::2].contiguous(), spatial_shape=(8, 8, 8), batch_size=2)
    got = build_kernel_map(indices[::2], spatial_shape=(8, 8, 8), batch_size=2)
    assert torch.equal(got.in_rows, want.in_rows)
    got = build_kernel_map(indices[::2].T.contiguous().T, spatial_shape=(8, 8, 8), batch_size=2)
    assert torch.equal(got.in_rows, want.in_rows)


def test_opcheck(device: torch.device) -> None:
    indices = random_voxels(50, (8, 8, 8)).to(device)
    arguments = ((8, 8, 8), 2, (3, 1, 3), (1, 2, 1))
    opcheck(torch.ops.elite_ops.build_kernel_map.default, (indices, *arguments))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    def num_neighbors(points: Tensor) -> tuple[Tensor, KernelMap]:
        (voxels,) = voxelize(
            points, point_cloud_range=(0.0, 0.0, 0.0, 8.0, 8.0, 8.0), spatial_shape=(8, 8, 8)
        )
        kernel_map = build_kernel_map(voxels.indices, spatial_shape=(8, 8, 8), batch_size=1)
        return (kernel_map.in_rows >= 0).sum(), kernel_map

    compiled = torch.compile(num_neighbors, fullgraph=True, backend="aot_eager", dynamic=True)
    for num_points in (40, 300):
        generator = torch.Generator().manual_seed(num_points)
        points = (torch.rand(num_points, 3, generator=generator) * 8).to(device)
        got, want = compiled(points), num_neighbors(points)
        assert torch.equal(got[0], want[0])
        assert torch.equal(got[1].in_rows, want[1].in_rows)


REJECTED = [
    ({"indices": torch.zeros(3).int()}, ValueError, "`indices` must have 2 dimensions"),
    ({"indices": torch.zeros(1, 3).int()}, ValueError, "`indices` must have size 4"),
    ({"indices": torch.zeros(1, 4).long()}, TypeError, "`indices` must be Int, got Long"),
    immediate(
        {"indices": torch.zeros(2, 4).int()},
        ValueError,
        r"unique, got .* at rows 0 and 1",
    ),
    immediate(
        {"indices": torch.tensor([[0, 0, 0, 4]]).int()}, IndexError, r"\(0, 0, 0, 4\) at row 0"
    ),
    immediate(
        {"indices": torch.tensor([[0, 0, -1, 0]]).int()}, IndexError, "`indices` must be inside"
    ),
    immediate(
        {"indices": torch.tensor([[2, 0, 0, 0]]).int()}, IndexError, "`indices` must be inside"
    ),
    ({"spatial_shape": (4, 4)}, ValueError, "`spatial_shape` must have 3 entries"),
    ({"spatial_shape": (4, 4, 0)}, ValueError, "`spatial_shape` must be between 1 and 2"),
    ({"spatial_shape": (2**24, 2**24, 2**15)}, ValueError, "must fit in a 63-bit key"),
    ({"batch_size": 0}, ValueError, "`batch_size` must be between 1"),
    ({"kernel_size": (3, 3)}, ValueError, "`kernel_size` must have 3 entries"),
    ({"kernel_size": (3, 2, 3)}, ValueError, "`kernel_size` must be 1, 3, 5 or 7"),
    ({"kernel_size": (9, 3, 3)}, ValueError, "`kernel_size` must be between 1 and 7"),
    ({"dilation": (1, 1)}, ValueError, "`dilation` must have 3 entries"),
    ({"dilation": (1, 0, 1)}, ValueError, "`dilation` must be between 1"),
]


@pytest.mark.parametrize(("change", "error", "message"), REJECTED)
def test_rejects(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {
        "indices": torch.zeros(1, 4).int(),
        "spatial_shape": (4, 4, 4),
        "batch_size": 2,
        "kernel_size": (3, 3, 3),
        "dilation": (1, 1, 1),
    } | change
    with pytest.raises(error, match=f"build_kernel_map: .*{message}"):
        torch.ops.elite_ops.build_kernel_map(*arguments.values())


def test_rejects_two_of_three_axes() -> None:
    indices = torch.zeros(1, 4).int()
    with pytest.raises(ValueError, match=r"`dilation` must have 3 entries.*got \(1, 2\)"):
        build_kernel_map(indices, spatial_shape=(4, 4, 4), batch_size=1, dilation=(1, 2))


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 0, 0, 0], [0, 0, 0, 4]], "must be inside the grid"),
        ([[0, 1, 1, 1]] * 2, "must be unique"),
    ],
)
def test_wrong_voxels_are_reported_from_the_device(
    cuda: torch.device, rows: list[list[int]], message: str
) -> None:
    from elite_ops import check_device_errors

    indices = torch.tensor(rows, dtype=torch.int32, device=cuda)
    build_kernel_map(indices, spatial_shape=(4, 4, 4), batch_size=1)
    with pytest.raises(IndexError, match=f"build_kernel_map: .*{message}"):
        check_device_errors()
