"""`hard_voxelize` against its definition, and against the loop over points that it stands for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from immediate import immediate
from torch import Tensor
from torch.library import opcheck

from elite_ops import HardVoxels, check_device_errors, hard_voxelize, voxelize
from elite_ops.reference.hard_voxelize import hard_voxelize as reference

RANGE = (0.0, -40.0, -3.0, 70.4, 40.0, 1.0)
VOXEL_SIZE = (0.05, 0.05, 0.1)
SMALL: dict[str, Any] = {
    "point_cloud_range": (-2.0, -2, -2, 2, 2, 2),
    "voxel_size": (0.5, 0.8, 1.0),
}
LIMITS: dict[str, Any] = {"max_points": 3, "max_voxels": 20}
OPS = torch.ops.elite_ops
FIELDS = ("points", "indices", "counts", "point_rows", "point_slots", "num_voxels")


def random_points(num_points: int, seed: int = 0) -> Tensor:
    """Points x, y, z and two features, about a quarter of them outside of `SMALL`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num_points, 5, generator=generator) * 4.4 - 2.2


def random_batch(num_points: int, batch_size: int = 3) -> Tensor:
    return torch.randint(batch_size, (num_points,), generator=torch.Generator().manual_seed(1))


def assert_equal(got: HardVoxels, want: HardVoxels) -> None:
    for name in FIELDS:
        a, b = getattr(got, name), getattr(want, name)
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)
    assert got.spatial_shape == want.spatial_shape


def first_come(points: Tensor, voxel_size: Any, minimum: Any, shape: Any, **limits: int) -> Any:
    """What hard voxelization says, point by point, of one sample on the CPU."""
    size, low = torch.tensor(voxel_size), torch.tensor(minimum)
    voxels: dict[tuple[int, ...], list[int]] = {}
    for i, cell in enumerate(((points[:, :3] - low) / size).floor().tolist()):
        if not all(0 <= c < n for c, n in zip(cell, shape, strict=True)):
            continue
        key = tuple(int(c) for c in cell)
        if key not in voxels and len(voxels) == limits["max_voxels"]:
            continue
        voxels.setdefault(key, [])
        if len(voxels[key]) < limits["max_points"]:
            voxels[key].append(i)
    return voxels


def test_by_hand(device: torch.device) -> None:
    x = [2.5, 0.5, 2.1, 4.0, 2.9, -0.1, 1.5, 0.0, 3.5]
    points = torch.tensor([[v, 0.5, 0.5, i] for i, v in enumerate(x)], device=device)
    box = (0.0, 0.0, 0.0, 4.0, 4.0, 4.0)
    voxels = hard_voxelize(
        points, point_cloud_range=box, voxel_size=(1, 1, 1), max_points=2, max_voxels=3
    )
    assert voxels.indices.tolist() == [[0, 2, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert voxels.points[:, :, 3].tolist() == [[0, 2], [1, 7], [6, 0]]
    assert voxels.points[2, 1].tolist() == [0, 0, 0, 0]
    assert voxels.counts.tolist() == [2, 2, 1]
    # 4.0 and -0.1 are outside, the third point in the first voxel has no slot, and there is no
    # fourth voxel.
    assert voxels.point_rows.tolist() == [0, 1, 0, -1, 0, -1, 2, 1, -1]
    assert voxels.point_slots.tolist() == [0, 0, 1, -1, -1, -1, 0, 1, -1]
    assert int(voxels.num_voxels) == 3
    assert voxels.spatial_shape == (4, 4, 4)


@pytest.mark.parametrize("limits", [LIMITS, {"max_points": 1, "max_voxels": 1000}])
@pytest.mark.parametrize("num_points", [0, 1, 31, 33, 1023])
def test_equals_reference(device: torch.device, num_points: int, limits: dict[str, int]) -> None:
    points = random_points(num_points).to(device)
    assert_equal(hard_voxelize(points, **SMALL, **limits), reference(points, **SMALL, **limits))
    batch_index = random_batch(num_points).to(device)
    got = hard_voxelize(points, batch_index, **SMALL, **limits)
    assert_equal(got, reference(points, batch_index, **SMALL, **limits))


def test_equals_the_loop_over_points(device: torch.device) -> None:
    points = random_points(700)
    for limits in (LIMITS, {"max_points": 40, "max_voxels": 11}):
        voxels = hard_voxelize(points.to(device), **SMALL, **limits)
        want = first_come(points, SMALL["voxel_size"], (-2.0,) * 3, (8, 5, 4), **limits)
        assert voxels.spatial_shape == (8, 5, 4)
        assert voxels.indices[:, 1:].tolist() == [list(cell) for cell in want]
        assert voxels.counts.tolist() == [len(rows) for rows in want.values()]
        for row, members in enumerate(want.values()):
            assert torch.equal(voxels.points[row, : len(members)].cpu(), points[members])
            assert not voxels.points[row, len(members) :].any()


@pytest.mark.parametrize(
    ("voxel_size", "max_points"), [(VOXEL_SIZE, 5), ((0.1, 0.1, 0.2), 32), ((0.16, 0.16, 4.0), 32)]
)
def test_equals_reference_on_a_real_scan(
    real_points: Tensor, device: torch.device, voxel_size: Any, max_points: int
) -> None:
    points = real_points[::4].contiguous().to(device)
    arguments = {"point_cloud_range": RANGE, "voxel_size": voxel_size, "max_points": max_points}
    got = hard_voxelize(points, **arguments, max_voxels=8000)
    assert_equal(got, reference(points, **arguments, max_voxels=8000))


def test_samples_are_voxelized_one_by_one(device: torch.device) -> None:
    points, batch_index = random_points(900).to(device), random_batch(900).to(device)
    together = hard_voxelize(points, batch_index, batch_size=4, **SMALL, **LIMITS)
    alone = [hard_voxelize(points[batch_index == b], **SMALL, **LIMITS) for b in range(4)]
    assert [len(v.counts) for v in alone] == [20, 20, 20, 0]
    assert torch.equal(together.points, torch.cat([v.points for v in alone]))
    assert torch.equal(together.counts, torch.cat([v.counts for v in alone]))
    assert torch.equal(together.indices[:, 1:], torch.cat([v.indices[:, 1:] for v in alone]))
    assert torch.equal(
        together.indices[:, 0].long(), torch.arange(3, device=device).repeat_interleave(20)
    )
    rows = torch.cat(
        [torch.where(v.point_rows < 0, -1, v.point_rows + 20 * b) for b, v in enumerate(alone)]
    )
    order = batch_index.argsort(stable=True)
    assert torch.equal(together.point_rows[order], rows)


def test_the_number_of_cells_is_rounded_and_rules(device: torch.device) -> None:
    # 4.4 is 11 cells of 0.4, and 4.5 too: the last cell ends at 4.4, and nothing is beyond.
    x = torch.tensor([0.0, 4.39, 4.41, 4.5], device=device)
    points = torch.stack([x, torch.zeros_like(x), torch.zeros_like(x)], dim=1)
    arguments = {"voxel_size": (0.4, 1.0, 1.0), "max_points": 2, "max_voxels": 4}
    voxels = hard_voxelize(points, point_cloud_range=(0.0, 0, 0, 4.5, 1, 1), **arguments)
    assert voxels.spatial_shape == (11, 1, 1)
    assert voxels.point_rows.tolist() == [0, 1, -1, -1]
    # 4.3 is 11 cells too, and the last one reaches beyond the range.
    voxels = hard_voxelize(points, point_cloud_range=(0.0, 0, 0, 4.3, 1, 1), **arguments)
    assert voxels.spatial_shape == (11, 1, 1)
    assert voxels.point_rows.tolist() == [0, 1, -1, -1]
    # A half is rounded up; and quotients are those of float32.
    for range_x, size, cells in ((1.0, 0.4, 3), (70.4, 0.05, 1408), (108.0, 0.075, 1440)):
        voxels = hard_voxelize(
            points[:0],
            point_cloud_range=(0.0, 0, 0, range_x, 1, 1),
            **(arguments | {"voxel_size": (size, 1.0, 1.0)}),
        )
        assert voxels.spatial_shape == (cells, 1, 1)


def test_points_without_a_place_in_space(device: torch.device) -> None:
    values = [math.nan, math.inf, -math.inf, -2.0, 2.0, 1e38]
    points = torch.tensor([[v, 0.0, 0.0] for v in values], device=device)
    assert hard_voxelize(points, **SMALL, **LIMITS).point_rows.tolist() == [-1, -1, -1, 0, -1, -1]


def test_a_shape_instead_of_a_size(device: torch.device) -> None:
    points = random_points(300).to(device)
    got = hard_voxelize(
        points, point_cloud_range=SMALL["point_cloud_range"], spatial_shape=(8, 5, 4), **LIMITS
    )
    assert_equal(got, hard_voxelize(points, **SMALL, **LIMITS))


def test_without_limits_voxels_are_those_of_voxelize(device: torch.device) -> None:
    points = random_points(500).to(device)
    box = {"point_cloud_range": SMALL["point_cloud_range"], "spatial_shape": (8, 4, 4)}
    hard = hard_voxelize(points, **box, max_points=500, max_voxels=500)
    (dynamic,) = voxelize(points, **box)
    order = (hard.indices[:, 1:] * torch.tensor([16, 4, 1], device=device)).sum(1).argsort()
    assert torch.equal(hard.indices[order], dynamic.indices)
    assert torch.equal(hard.counts[order], dynamic.counts)


def test_a_grid_whose_keys_need_64_bits(device: torch.device) -> None:
    points = random_points(200).to(device)
    arguments = {"point_cloud_range": SMALL["point_cloud_range"], "voxel_size": (1e-4,) * 3}
    got = hard_voxelize(points, **arguments, **LIMITS)
    assert math.prod(got.spatial_shape) > 2**31
    assert_equal(got, reference(points, **arguments, **LIMITS))


def test_padded_buffers_hold_the_same_voxels_and_nothing_else(device: torch.device) -> None:
    points, batch_index = random_points(300).to(device), random_batch(300).to(device)
    limits = {"max_points": 3, "max_voxels": 90}
    exact = hard_voxelize(points, batch_index, batch_size=3, **SMALL, **limits)
    padded = hard_voxelize(points, batch_index, batch_size=3, padded=True, **SMALL, **limits)
    n = len(exact.counts)
    assert len(padded.counts) == len(padded.points) == len(padded.indices) == 270 > n
    assert int(padded.num_voxels) == int(exact.num_voxels) == n
    for name in ("points", "indices", "counts"):
        assert torch.equal(getattr(padded, name)[:n], getattr(exact, name))
    assert not padded.points[n:].any()
    assert not padded.counts[n:].any()
    assert (padded.indices[n:] == -1).all()
    assert torch.equal(padded.point_rows, exact.point_rows)


def places(device: torch.device, padded: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    voxels = hard_voxelize(random_points(40).to(device), padded=padded, **SMALL, **LIMITS)
    return voxels.point_rows, voxels.point_slots, voxels.counts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_slots_of_other_dtypes(device: torch.device, dtype: torch.dtype) -> None:
    rows, slots, counts = places(device)
    features = torch.randn(40, 7, device=device).to(dtype).requires_grad_()
    out = OPS.fill_slots(features, rows, slots, counts, 3)
    grad_out = torch.randn_like(out)
    (grad,) = torch.autograd.grad(out, features, grad_out)
    for i, (row, slot) in enumerate(zip(rows.tolist(), slots.tolist(), strict=True)):
        if slot < 0:
            assert not grad[i].any()
            continue
        assert torch.equal(out[row, slot], features[i])
        assert torch.equal(grad[i], grad_out[row, slot])


def test_gradients_equal_the_reference(device: torch.device) -> None:
    points = random_points(300).to(device).requires_grad_()
    got, want = (f(points, **SMALL, **LIMITS).points for f in (hard_voxelize, reference))
    grad_out = torch.randn_like(got)
    (grad,) = torch.autograd.grad(got, points, grad_out)
    assert torch.equal(grad, torch.autograd.grad(want, points, grad_out)[0])
    assert not hard_voxelize(points, **SMALL, **LIMITS).counts.requires_grad


@pytest.mark.parametrize("padded", [False, True])
def test_gradcheck(device: torch.device, padded: bool) -> None:
    rows, slots, counts = places(device, padded)
    features = torch.randn(40, 2, dtype=torch.float64, device=device, requires_grad=True)

    def fill(features: Tensor) -> Tensor:
        return OPS.fill_slots(features, rows, slots, counts, 3).square()

    assert torch.autograd.gradcheck(fill, features)
    assert torch.autograd.gradgradcheck(fill, features)
    voxels = torch.randn(len(counts), 3, 2, dtype=torch.float64, device=device, requires_grad=True)

    def take(voxels: Tensor) -> Tensor:
        return OPS.take_slots(voxels, rows, slots, counts).square()

    assert torch.autograd.gradcheck(take, voxels)


def test_opcheck(device: torch.device) -> None:
    points, batch_index = random_points(60).to(device), random_batch(60).to(device)
    grid = ((-2.0,) * 3, (0.5, 0.8, 1.0), (8, 5, 4))
    opcheck(OPS.hard_voxelize.default, (points, None, *grid, 1, 3, 20, False))
    opcheck(OPS.hard_voxelize.default, (points, batch_index, *grid, 3, 3, 20, True))
    rows, slots, counts = places(device)
    features = torch.randn(40, 4, device=device, requires_grad=True)
    opcheck(OPS.fill_slots.default, (features, rows, slots, counts, 3))
    voxels = torch.randn(len(counts), 3, 4, device=device, requires_grad=True)
    opcheck(OPS.take_slots.default, (voxels, rows, slots, counts))


@pytest.mark.parametrize("padded", [False, True])
@torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True)
def test_compiles_without_a_graph_break(device: torch.device, padded: bool) -> None:
    def mean_of_voxels(points: Tensor) -> tuple[Tensor, Tensor]:
        voxels = hard_voxelize(points, padded=padded, **SMALL, **LIMITS)
        return voxels.points.sum(1) / voxels.counts.clamp(min=1)[:, None], voxels.indices

    compiled = torch.compile(mean_of_voxels, fullgraph=True, backend="aot_eager", dynamic=True)
    for num_points in (50, 700):
        points = random_points(num_points).to(device)
        for got, want in zip(compiled(points), mean_of_voxels(points), strict=True):
            assert torch.equal(got, want)
    points.requires_grad_()
    grads = [torch.autograd.grad(f(points)[0].sum(), points)[0] for f in (compiled, mean_of_voxels)]
    assert torch.equal(*grads)


def test_non_contiguous(device: torch.device) -> None:
    points, batch_index = random_points(200).to(device), random_batch(200).to(device)
    arguments = SMALL | LIMITS | {"batch_size": 3}
    want = hard_voxelize(points[::2].contiguous(), batch_index[::2].contiguous(), **arguments)
    assert_equal(hard_voxelize(points[::2], batch_index[::2], **arguments), want)
    assert_equal(hard_voxelize(points[::2].T.contiguous().T, batch_index[::2], **arguments), want)


POINTS = torch.zeros(3, 4)
REJECTED = [
    ({"points": torch.zeros(3)}, ValueError, "`points` must have 2 dimensions"),
    ({"points": torch.zeros(3, 2)}, ValueError, "`points` must have at least 3 columns"),
    ({"points": POINTS.double()}, TypeError, "`points` must be Float, as cells .* got Double"),
    ({"points": POINTS.half()}, TypeError, "`points` must be Float, as cells .* got Half"),
    ({"batch_index": torch.zeros(2).long()}, ValueError, "`batch_index` must have size 3"),
    ({"batch_index": torch.zeros(3).int()}, TypeError, "`batch_index` must be Long, got Int"),
    ({"batch_index": torch.zeros(3, 1).long()}, ValueError, "`batch_index` must have 1 dimen"),
    immediate({"batch_index": torch.tensor([0, 2, 9])}, IndexError, r"\(2\), got 2 at row 1"),
    immediate({"batch_index": torch.tensor([0, 0, -1])}, IndexError, "got -1 at row 2"),
    ({"batch_size": 0}, ValueError, "`batch_size` must be between 1"),
    ({"batch_size": 1.5}, TypeError, "`batch_size` must be an integer, got .* of type float"),
    ({"point_cloud_range": (0.0, 1.0)}, ValueError, "`point_cloud_range` must have 6 entries"),
    ({"point_cloud_range": (0.0, 0, 0, 1, 0, 1)}, ValueError, "each minimum below its maximum"),
    ({"point_cloud_range": (0.0, 0, 0, 1, math.nan, 1)}, ValueError, "must be finite"),
    ({"point_cloud_range": (0.0, 0, 0, 1, math.inf, 1)}, ValueError, "must be finite"),
    ({"voxel_size": (1.0, 1.0)}, ValueError, "`voxel_size` must have 3 positive entries"),
    ({"voxel_size": (1.0, 0.0, 1.0)}, ValueError, "`voxel_size` must have 3 positive entries"),
    ({"voxel_size": (9.0, 1.0, 1.0)}, ValueError, "`voxel_size` must leave between 1 and 2"),
    ({"voxel_size": (1e-8, 1.0, 1.0)}, ValueError, "`voxel_size` must leave between 1 and 2"),
    ({"voxel_size": None}, ValueError, "one of `voxel_size` and `spatial_shape` .* got neither"),
    ({"spatial_shape": (4, 4, 4)}, ValueError, "one of `voxel_size` and .* got both"),
    ({"voxel_size": None, "spatial_shape": (4, 4)}, ValueError, "must have 3 entries"),
    ({"voxel_size": None, "spatial_shape": (4, 4, 0)}, ValueError, "3 entries of at least 1"),
    ({"voxel_size": None, "spatial_shape": (2**24,) * 3}, ValueError, "fit in a 63-bit key"),
    ({"max_points": 0}, ValueError, "`max_points` must be between 1"),
    ({"max_points": 2.0}, TypeError, "`max_points` must be an integer, got .* of type float"),
    ({"max_voxels": 0}, ValueError, "`max_voxels` must be between 1"),
    ({"max_voxels": 2**31}, ValueError, "`max_voxels` must be between 1"),
    ({"max_voxels": 2**30, "padded": True}, ValueError, "`max_voxels` times `batch_size` must"),
]


@pytest.mark.parametrize(("change", "error", "message"), REJECTED)
def test_rejects(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"points": POINTS, "batch_index": torch.zeros(3).long(), "batch_size": 2}
    with pytest.raises(error, match=f"hard_voxelize: .*{message}"):
        hard_voxelize(**(arguments | SMALL | LIMITS | change))


ROWS = torch.zeros(3, dtype=torch.int32)
COUNTS = torch.ones(2, dtype=torch.int32)
REJECTED_SLOTS = [
    (OPS.fill_slots, (ROWS, ROWS, ROWS, COUNTS, 1), ValueError, "`features` must have 2 dimens"),
    (
        OPS.fill_slots,
        (POINTS.int(), ROWS, ROWS, COUNTS, 1),
        TypeError,
        "`features` must be float32",
    ),
    (
        OPS.fill_slots,
        (POINTS[:2], ROWS, ROWS, COUNTS, 1),
        ValueError,
        "`features` must have size 3",
    ),
    (OPS.fill_slots, (POINTS, ROWS[None], ROWS, COUNTS, 1), ValueError, "`point_rows` must have 1"),
    (OPS.fill_slots, (POINTS, ROWS.long(), ROWS, COUNTS, 1), TypeError, "`point_rows` must be Int"),
    (
        OPS.fill_slots,
        (POINTS, ROWS, ROWS[:2], COUNTS, 1),
        ValueError,
        "`point_slots` must have siz",
    ),
    (
        OPS.fill_slots,
        (POINTS, ROWS, ROWS.float(), COUNTS, 1),
        TypeError,
        "`point_slots` must be Int",
    ),
    (OPS.fill_slots, (POINTS, ROWS, ROWS, COUNTS.long(), 1), TypeError, "`counts` must be Int"),
    (
        OPS.fill_slots,
        (POINTS, ROWS, ROWS, COUNTS, 0),
        ValueError,
        "`max_points` must be between 1 and 2",
    ),
    (
        OPS.fill_slots,
        (POINTS, ROWS, ROWS, COUNTS[:0], 2**63 - 1),
        ValueError,
        "`max_points` must be between 1 and 2",
    ),
    (
        OPS.fill_slots,
        (POINTS, ROWS, ROWS, COUNTS[:1].expand(2**20), 2**30),
        ValueError,
        "must fit in memory",
    ),
    (OPS.take_slots, (POINTS, ROWS, ROWS, COUNTS), ValueError, "`voxels` must have 3 dimensions"),
    (OPS.take_slots, (POINTS[None], ROWS, ROWS, COUNTS), ValueError, "`voxels` must have size 2"),
]


@pytest.mark.parametrize(("op", "arguments", "error", "message"), REJECTED_SLOTS)
def test_slots_reject(op: Any, arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"{op.__name__}: .*{message}"):
        op(*arguments)


@pytest.mark.gpu
@pytest.mark.parametrize("padded", [False, True])
def test_a_wrong_batch_index_is_reported_from_the_device(cuda: torch.device, padded: bool) -> None:
    points = torch.zeros(3, 4, device=cuda)
    batch_index = torch.tensor([0, 5, -1], device=cuda)
    arguments = SMALL | LIMITS | {"batch_size": 2, "padded": padded}
    message = "hard_voxelize: `batch_index` must be at least 0 and below"
    if not padded:
        with pytest.raises(IndexError, match=message):
            hard_voxelize(points, batch_index, **arguments)
        return
    voxels = hard_voxelize(points, batch_index, **arguments)
    assert voxels.point_rows.tolist() == [0, -1, -1]
    with pytest.raises(IndexError, match=message):
        check_device_errors()
