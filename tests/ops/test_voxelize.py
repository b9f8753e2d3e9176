"""`voxelize` against its definition, torch.unique and arithmetic by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from immediate import immediate, immediate_error
from maps import symmetric_map
from torch import Tensor
from torch.library import opcheck

from elite_ops import Voxels, check_device_errors, voxelize
from elite_ops.reference.voxelize import voxelize as reference

RANGE = (-50.0, -50.0, -4.0, 50.0, 50.0, 2.0)
SHAPE = (1000, 1000, 60)
SCALES = (1, 2, 4, 8, 16)
UNIT = {"point_cloud_range": (0.0, 0.0, 0.0, 4.0, 4.0, 4.0), "spatial_shape": (4, 4, 4)}


def random_points(num_points: int, seed: int = 0) -> Tensor:
    """Points x, y, z, remission, about a tenth of them outside the range."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(num_points, 4, generator=generator) * 2 - 1
    return points * torch.tensor([52.0, 52.0, 3.1, 1.0]) + torch.tensor([0.0, 0.0, -1.0, 0.0])


def random_batch(num_points: int, batch_size: int = 3) -> Tensor:
    return torch.randint(batch_size, (num_points,), generator=torch.Generator().manual_seed(1))


def assert_equal(got: list[Voxels], want: list[Voxels]) -> None:
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert (a.scale, a.spatial_shape) == (b.scale, b.spatial_shape)
        for name in ("indices", "point_rows", "counts", "num_voxels"):
            torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=0, atol=0)
        assert a.batch_size == b.batch_size
        assert a._maps.keys() == b._maps.keys()
        for geometry, kernel_map in a._maps.items():
            assert torch.equal(kernel_map.in_rows, b._maps[geometry].in_rows)
            assert kernel_map.symmetric
        assert (a.halved is None) == (b.halved is None)
        if a.halved is not None and b.halved is not None:
            assert_equal([a.halved], [b.halved])


def check(points: Tensor, batch_index: Tensor | None = None, **arguments: Any) -> list[Voxels]:
    got = voxelize(points, batch_index, **arguments)
    assert_equal(got, reference(points, batch_index, **arguments))
    return got


def test_example_by_hand(device: torch.device) -> None:
    points = torch.tensor(
        [[3.5, 0.5, 0.5], [0.5, 0.5, 2.5], [0.9, 0.1, 2.1], [4.5, 0.5, 0.5], [0.5, 3.5, 0.0]],
        device=device,
    )
    fine, coarse = voxelize(points, scales=(1, 2), **UNIT)
    assert fine.indices.tolist() == [[0, 0, 0, 2], [0, 3, 0, 0]]
    assert fine.point_rows.tolist() == [1, 0, 0, -1, -1]  # outside; on the border
    assert fine.counts.tolist() == [2, 1]
    assert fine.num_voxels.item() == 2
    assert coarse.indices.tolist() == [[0, 0, 0, 1], [0, 1, 0, 0]]
    assert coarse.spatial_shape == (2, 2, 2)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("num_points", [0, 1, 31, 33, 1023, 40_000])
def test_equals_reference(
    device: torch.device, num_points: int, batched: bool, nested: bool
) -> None:
    points = random_points(num_points).to(device)
    batch_index = random_batch(num_points).to(device) if batched else None
    check(
        points,
        batch_index,
        point_cloud_range=RANGE,
        spatial_shape=SHAPE,
        scales=SCALES,
        batch_size=3 if batched else 1,
        nested=nested,
    )


@pytest.mark.parametrize("nested", [False, True])
def test_equals_reference_on_a_real_scan(
    device: torch.device, real_points: Tensor, nested: bool
) -> None:
    voxels = check(
        real_points.to(device),
        point_cloud_range=RANGE,
        spatial_shape=SHAPE,
        scales=SCALES,
        nested=nested,
    )
    assert [len(v.indices) for v in voxels] == [v.num_voxels.item() for v in voxels]
    assert len(voxels[0].indices) > 30_000


def test_equals_unique_of_the_cells_of_a_real_scan(real_points: Tensor) -> None:
    minimum, maximum = torch.tensor(RANGE).view(2, 3)
    xyz = real_points[:, :3]
    inside = ((xyz > minimum) & (xyz < maximum)).all(dim=1)
    for voxels in voxelize(
        real_points, point_cloud_range=RANGE, spatial_shape=SHAPE, scales=SCALES
    ):
        size = torch.tensor([math.ceil(s / voxels.scale) for s in SHAPE])
        cell = (size * (xyz[inside] - minimum) / (maximum - minimum)).int()
        indices, inverse, counts = cell.unique(dim=0, return_inverse=True, return_counts=True)
        assert torch.equal(voxels.indices[:, 1:], indices)
        assert torch.equal(voxels.point_rows[inside].long(), inverse)
        assert torch.equal(voxels.counts.long(), counts)


@pytest.mark.parametrize("scale", SCALES)
def test_points_near_cell_borders(device: torch.device, scale: int) -> None:
    """The float32 formula to the bit: at every border, and a few roundings to either side."""
    cells = math.ceil(SHAPE[0] / scale)
    border = torch.linspace(-50, 50, cells + 1, dtype=torch.float64).float()
    steps = [border]
    for _ in range(3):
        steps.append(torch.nextafter(steps[-1], torch.tensor(60.0)))
    below = border
    for _ in range(3):
        below = torch.nextafter(below, torch.tensor(-60.0))
        steps.append(below)
    x = torch.cat(steps)
    points = torch.stack([x, x.flip(0), x.clamp(-3.9, 1.9)], dim=1).to(device)
    check(points, point_cloud_range=RANGE, spatial_shape=SHAPE, scales=(scale,))


def test_a_point_that_rounds_up_to_the_end_is_in_the_last_cell(device: torch.device) -> None:
    last = torch.nextafter(torch.tensor(4.0), torch.tensor(0.0))
    box = (-100.0, 0.0, 0.0, 4.0, 4.0, 4.0)
    # The premise: the quotient is the size. CUDA would multiply by the reciprocal of a number.
    assert 1000 * (last + 100) / 104 == 1000
    points = torch.tensor([[last, 1.0, 1.0]], device=device)
    (voxels,) = check(points, point_cloud_range=box, spatial_shape=(1000, 4, 4))
    assert voxels.indices.tolist() == [[0, 999, 1, 1]]


def test_points_outside_have_no_voxel(device: torch.device) -> None:
    inf, nan = math.inf, math.nan
    outside = [0.0, 4.0, -1.0, 5.0, inf, -inf, nan]
    points = torch.full((3 * len(outside), 3), 1.0)
    for axis in range(3):
        points[axis * len(outside) : (axis + 1) * len(outside), axis] = torch.tensor(outside)
    (voxels,) = check(points.to(device), **UNIT)
    assert (voxels.point_rows == -1).all()
    assert voxels.indices.shape == (0, 4)
    assert voxels.num_voxels.item() == 0


def test_all_points_in_one_voxel(device: torch.device) -> None:
    (voxels,) = check(torch.full((1000, 3), 1.5, device=device), **UNIT)
    assert voxels.indices.tolist() == [[0, 1, 1, 1]]
    assert voxels.counts.tolist() == [1000]


def test_a_batch_with_an_empty_sample(device: torch.device) -> None:
    points = torch.full((4, 3), 1.5, device=device)
    batch_index = torch.tensor([2, 0, 2, 0], device=device)
    (voxels,) = check(points, batch_index, batch_size=4, **UNIT)
    assert voxels.indices.tolist() == [[0, 1, 1, 1], [2, 1, 1, 1]]
    assert voxels.point_rows.tolist() == [1, 0, 1, 0]


def test_batch_size_is_read_from_the_batch_index(device: torch.device) -> None:
    points = torch.full((2, 3), 1.5, device=device)
    batch_index = torch.tensor([1, 0], device=device)
    want = voxelize(points, batch_index, batch_size=2, **UNIT)
    assert_equal(voxelize(points, batch_index, **UNIT), want)
    assert voxelize(points[:0], batch_index[:0], **UNIT)[0].num_voxels.item() == 0


def test_nested_cells_are_divided(device: torch.device) -> None:
    points = random_points(5000).to(device)
    fine, coarse = voxelize(
        points, point_cloud_range=RANGE, spatial_shape=SHAPE, scales=(1, 8), nested=True
    )
    inside = fine.point_rows >= 0
    cell = fine.indices[fine.point_rows[inside]] // torch.tensor([1, 8, 8, 8], device=device)
    assert torch.equal(coarse.indices[coarse.point_rows[inside]], cell.int())


@pytest.mark.parametrize("kernel_size", [3, (1, 3, 5)])
@pytest.mark.parametrize("spatial_shape", [SHAPE, (2**14, 2**14, 60)])
def test_kernel_maps_come_with_the_voxels(
    device: torch.device, spatial_shape: tuple[int, int, int], kernel_size: int | tuple[int, ...]
) -> None:
    points = random_points(3000).to(device) / 8
    batch_index = random_batch(3000).to(device)
    voxels = check(
        points,
        batch_index,
        point_cloud_range=RANGE,
        spatial_shape=spatial_shape,
        scales=SCALES,
        batch_size=3,
        kernel_size=kernel_size,
    )
    assert all(v.submanifold_map(kernel_size).num_out == len(v) for v in voxels)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("spatial_shape", [SHAPE, (2**14, 2**14, 61)])
def test_halved_grids(
    device: torch.device, spatial_shape: tuple[int, int, int], nested: bool
) -> None:
    points = random_points(3000).to(device) / 8
    fine, _, coarse = check(
        points,
        random_batch(3000).to(device),
        point_cloud_range=RANGE,
        spatial_shape=spatial_shape,
        scales=(1, 3, 16),
        batch_size=3,
        nested=nested,
        halved=(16, 1),
    )
    for voxels in (fine, coarse):
        assert voxels.halved is not None
        want = voxels.indices // torch.tensor([1, 2, 2, 2], device=device)
        assert torch.equal(voxels.halved.indices[voxels.halved.point_rows], want)


def trimmed(voxels: Voxels, num_inverse: int) -> Voxels:
    """Without the rows past the number of voxels, where nothing lies in a cell."""
    n = int(voxels.num_voxels)
    assert (voxels.point_rows[num_inverse:] == -1).all()
    valid = Voxels(
        voxels.indices[:n],
        voxels.point_rows[:num_inverse],
        voxels.counts[:n],
        voxels.num_voxels,
        voxels.spatial_shape,
        voxels.batch_size,
        scale=voxels.scale,
        halved=None if voxels.halved is None else trimmed(voxels.halved, n),
    )
    for geometry, kernel_map in voxels._maps.items():
        assert kernel_map.num_rows is not None
        assert kernel_map.num_rows.item() == n
        valid.store(geometry, symmetric_map(kernel_map.in_rows[:, :n], geometry.kernel_size))
    return valid


@pytest.mark.parametrize("spatial_shape", [SHAPE, (2**14, 2**14, 60)])
@pytest.mark.parametrize("num_points", [0, 1, 33, 3000])
def test_a_fixed_capacity_changes_nothing(
    device: torch.device, num_points: int, spatial_shape: tuple[int, int, int]
) -> None:
    points, batch_index = random_points(num_points).to(device) / 8, random_batch(num_points)
    arguments: dict[str, Any] = {
        "point_cloud_range": RANGE,
        "spatial_shape": spatial_shape,
        "scales": SCALES,
        "batch_size": 3,
        "kernel_size": 3,
        "halved": SCALES[:-1],
    }
    want = voxelize(points, batch_index.to(device), **arguments)
    for capacity in (num_points, [num_points + s for s in SCALES], [len(v.indices) for v in want]):
        got = voxelize(points, batch_index.to(device), capacity=capacity, **arguments)
        per_scale = [capacity] * len(SCALES) if isinstance(capacity, int) else capacity
        assert [len(v.indices) for v in got] == per_scale
        assert_equal([trimmed(v, num_points) for v in got], want)


@immediate_error
def test_more_voxels_than_the_capacity_are_an_error() -> None:
    points = random_points(500)
    shape = {"point_cloud_range": RANGE, "spatial_shape": SHAPE, "scales": (1, 16)}
    sizes = [len(v.indices) for v in voxelize(points, **shape)]
    message = rf"`capacity` must hold the voxels \({sizes[1]} at scale 16\), got {sizes[1] - 1}"
    with pytest.raises(ValueError, match=message):
        voxelize(points, capacity=(sizes[0], sizes[1] - 1), **shape)


@pytest.mark.gpu
def test_more_voxels_than_the_capacity_are_reported_from_the_device(cuda: torch.device) -> None:
    points = random_points(500).to(cuda)
    shape = {"point_cloud_range": RANGE, "spatial_shape": SHAPE}
    (voxels,) = voxelize(points, capacity=20, **shape)
    assert voxels.num_voxels.item() == 20
    assert voxels.point_rows.max() == 19
    with pytest.raises(IndexError, match="voxelize: `capacity` must hold the voxels"):
        check_device_errors()


@pytest.mark.parametrize("height", [1, 63, 64, 65, 128, 200])
def test_columns_of_one_or_more_words(device: torch.device, height: int) -> None:
    points = random_points(2000).to(device)
    check(points, point_cloud_range=RANGE, spatial_shape=(7, 5, height), scales=(1, 3))


# Sides of square grids just within and just beyond what the bitmap serves: for 100 points its limit
# is 2^20 + 256 * 100 words, for 80,000 points it is 2^24 words.
@pytest.mark.parametrize(
    ("side", "num_points"), [(1036, 100), (1037, 100), (4096, 80_000), (4097, 80_000)]
)
def test_bitmap_and_sort_agree_with_the_reference_at_the_boundary(
    device: torch.device, side: int, num_points: int
) -> None:
    points = random_points(num_points).to(device)
    check(points, point_cloud_range=RANGE, spatial_shape=(side, side, 64))


def test_the_largest_grid(device: torch.device) -> None:
    side = 2**24
    box = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
    points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(0)).to(device)
    (voxels,) = voxelize(points, point_cloud_range=box, spatial_shape=(side, side, 2**14))
    size = torch.tensor([side, side, 2**14], device=device)
    assert torch.equal(voxels.indices[voxels.point_rows][:, 1:], (points * size).int())


def test_columns_that_are_not_contiguous(device: torch.device) -> None:
    points = random_points(500).to(device)
    batch_index = random_batch(500).to(device)
    arguments = {"point_cloud_range": RANGE, "spatial_shape": SHAPE, "batch_size": 3}
    want = voxelize(points[::2].contiguous(), batch_index[::2].contiguous(), **arguments)
    assert_equal(voxelize(points[::2], batch_index[::2], **arguments), want)
    transposed = points[::2].T.contiguous().T
    assert_equal(voxelize(transposed, batch_index[::2], **arguments), want)


def test_opcheck(device: torch.device) -> None:
    points = random_points(100).to(device)
    batch_index = random_batch(100).to(device)
    arguments = (RANGE, SHAPE, SCALES, 3, False)
    opcheck(torch.ops.elite_ops.voxelize.default, (points, batch_index, *arguments, ()))
    op = torch.ops.elite_ops.voxelize.default
    opcheck(op, (points, None, *arguments, (3, 1, 3), (), (8, 1)))
    # Of exact size: what further rows hold is not defined, and differs from call to call.
    sizes = [len(v) for v in op(points, None, *arguments, ())[0]]
    opcheck(op, (points, None, *arguments, (3, 3, 3), sizes))


def test_compiles_without_a_graph_break(device: torch.device) -> None:
    def mean_height(points: Tensor) -> tuple[Tensor, list[Voxels]]:
        voxels = voxelize(points, point_cloud_range=RANGE, spatial_shape=SHAPE, scales=(1, 4))
        return voxels[1].indices[:, 3].float().sum() / voxels[1].num_voxels, voxels

    compiled = torch.compile(mean_height, fullgraph=True, backend="aot_eager", dynamic=True)
    for num_points in (50, 700):
        points = random_points(num_points).to(device)
        got, want = compiled(points), mean_height(points)
        torch.testing.assert_close(got[0], want[0])
        assert_equal(got[1], want[1])


def test_a_fixed_capacity_compiles_without_a_graph_break(device: torch.device) -> None:
    def lowest(points: Tensor) -> Tensor:
        (voxels,) = voxelize(
            points,
            point_cloud_range=RANGE,
            spatial_shape=SHAPE,
            kernel_size=3,
            capacity=len(points),
            halved=(1,),
        )
        is_valid = torch.arange(len(voxels.indices), device=points.device) < voxels.num_voxels
        return torch.where(is_valid, voxels.indices[:, 3], 99).min()

    compiled = torch.compile(lowest, fullgraph=True, backend="aot_eager", dynamic=True)
    for num_points in (50, 700):
        points = random_points(num_points).to(device)
        assert torch.equal(compiled(points), lowest(points))


REJECTED = [
    ({"points": torch.zeros(3)}, ValueError, "`points` must have 2 dimensions"),
    ({"points": torch.zeros(3, 2)}, ValueError, "`points` must have at least 3 columns"),
    ({"points": torch.zeros(3, 4).double()}, TypeError, "`points` must be Float, got Double"),
    ({"batch_index": torch.zeros(3, 1).long()}, ValueError, "`batch_index` must have 1 dimen"),
    ({"batch_index": torch.zeros(2).long()}, ValueError, "`batch_index` must have size 3"),
    ({"batch_index": torch.zeros(3).int()}, TypeError, "`batch_index` must be Long, got Int"),
    immediate(
        {"batch_index": torch.tensor([0, 2, 9])}, IndexError, r"`batch_size` \(2\), got 2 at row 1"
    ),
    immediate({"batch_index": torch.tensor([0, 0, -1])}, IndexError, "got -1 at row 2"),
    ({"batch_size": 0}, ValueError, "`batch_size` must be between 1"),
    ({"point_cloud_range": (0.0, 1.0)}, ValueError, "`point_cloud_range` must have 6 entries"),
    ({"point_cloud_range": (0.0, 0, 0, 1, 0, 1)}, ValueError, "each minimum below its maximum"),
    ({"point_cloud_range": (0.0, 0, 0, 1, math.nan, 1)}, ValueError, "must be finite"),
    ({"point_cloud_range": (0.0, 0, 0, 1, math.inf, 1)}, ValueError, "must be finite"),
    ({"spatial_shape": (4, 4)}, ValueError, "`spatial_shape` must have 3 entries"),
    ({"spatial_shape": (4, 0, 4)}, ValueError, "`spatial_shape` must be between 1 and 2"),
    ({"spatial_shape": (2**24 + 1, 4, 4)}, ValueError, "`spatial_shape` must be between 1 and 2"),
    ({"spatial_shape": (2**24, 2**24, 2**15)}, ValueError, "must fit in a 63-bit key"),
    ({"scales": ()}, ValueError, "`scales` must have between 1 and 16 entries"),
    ({"scales": (1,) * 17}, ValueError, "`scales` must have between 1 and 16 entries"),
    ({"scales": (1, 0)}, ValueError, "`scales` must be between 1 and 2"),
    ({"kernel_size": (3, 3)}, ValueError, "`kernel_size` must have 3 entries"),
    ({"capacity": (5, 5)}, ValueError, "`capacity` must have one entry for each of `scales`"),
    ({"capacity": (-1,)}, ValueError, "`capacity` must not be negative"),
    ({"halved": (2,)}, ValueError, r"`halved` must name entries of `scales`, \[1\], got \[2\]"),
    ({"halved": (1,) * 17}, ValueError, "`halved` must have at most 16 entries"),
    ({"kernel_size": (3, 2, 3)}, ValueError, "`kernel_size` must be 1, 3, 5 or 7"),
    (
        {"spatial_shape": (2**24, 2**22, 2**16), "kernel_size": (3, 3, 3)},
        ValueError,
        "must fit in a 63-bit key",
    ),
]


@pytest.mark.parametrize(("change", "error", "message"), REJECTED)
def test_rejects(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {
        "points": torch.zeros(3, 4),
        "batch_index": torch.zeros(3).long(),
        "point_cloud_range": RANGE,
        "spatial_shape": SHAPE,
        "scales": (1,),
        "batch_size": 2,
        "nested": False,
        "kernel_size": (),
        "capacity": (),
        "halved": (),
    } | change
    with pytest.raises(error, match=f"voxelize: .*{message}"):
        torch.ops.elite_ops.voxelize(*arguments.values())
    *_, kernel_size, capacity, halved = arguments.values()
    if len(arguments["scales"]) == 1 and len(capacity) < 2 and not halved:
        arguments["scales"] = arguments["scales"][0]
        first = list(arguments.values())[:-3]
        with pytest.raises(error, match=f"voxelize: .*{message}"):
            torch.ops.elite_ops.voxelize_scale(*first, kernel_size or None, *capacity)


@pytest.mark.gpu
def test_a_wrong_batch_index_is_reported_from_the_device(cuda: torch.device) -> None:
    points = torch.full((3, 3), 1.5, device=cuda)
    batch_index = torch.tensor([0, 5, -1], device=cuda)
    with pytest.raises(IndexError, match="voxelize: `batch_index` must be at least 0 and below"):
        voxelize(points, batch_index, batch_size=2, **UNIT)
