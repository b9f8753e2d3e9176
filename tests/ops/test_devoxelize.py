"""`devoxelize` against its definition, and against dense interpolation in torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from immediate import immediate
from torch import Tensor
from torch.library import opcheck
from torch.testing import assert_close

from elite_ops import SparseTensor, VoxelSet, check_device_errors, devoxelize, voxelize
from elite_ops.reference.devoxelize import devoxelize as reference

RANGE = (-1.0, -2.0, 0.5, 3.0, 4.0, 4.0)
SHAPE = (5, 8, 7)
MODES = ["trilinear", "nearest"]
DTYPES = {torch.float32: 1e-5, torch.float64: 1e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def some_points(num_points: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Points inside and around the range, and their samples."""
    generator = torch.Generator().manual_seed(num_points)
    minimum, maximum = torch.tensor(RANGE).view(2, 3)
    unit = torch.rand(num_points, 4, generator=generator) * 1.2 - 0.1
    unit[:, :3] = minimum + (maximum - minimum) * unit[:, :3]
    batch_index = torch.randint(2, (num_points,), generator=generator)
    return unit.to(device), batch_index.to(device)


def some_voxels(device: torch.device | str = "cpu", density: float = 0.4) -> VoxelSet:
    """In random order."""
    generator = torch.Generator().manual_seed(0)
    indices = (torch.rand(2, *SHAPE, generator=generator) < density).nonzero().int()
    order = torch.randperm(len(indices), generator=generator)
    return VoxelSet(indices[order].to(device), SHAPE, 2)


def some_features(voxels: VoxelSet, channels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    return torch.randn(len(voxels), channels, generator=generator, dtype=dtype).to(voxels.device)


def test_by_hand(device: torch.device) -> None:
    """Cells of 2 m; voxels at x = 1 m and x = 3 m, and one by itself."""
    indices = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 3, 3, 3]], dtype=torch.int32)
    voxels = VoxelSet(indices.to(device), (4, 4, 4), 1)
    features = torch.tensor([[10.0], [20.0], [5.0]], device=device)
    places = [
        (1, 1, 1),  # the centre of the first
        (1.5, 1, 1),  # a quarter of the way to the second
        (1.5, 1.8, 0.2),  # the same: nothing else is there
        (3.5, 1, 1),  # towards an empty cell
        (6.5, 6.5, 6.5),  # an eighth of the way around to the last
        (5, 5, 5),  # exactly at an empty centre
        (4.5, 1, 1),  # in an empty cell beside the second
        (-0.5, 1, 1),  # outside
        (float("nan"), 1, 1),
    ]
    points = torch.tensor(places, device=device)
    options: dict[str, Any] = {"point_cloud_range": (0, 0, 0, 8, 8, 8)}
    got = devoxelize(features, voxels, points, **options).flatten().tolist()
    assert got == [10, 12.5, 12.5, 20, 5, 0, 20, 0, 0]
    got = devoxelize(features, voxels, points, mode="nearest", **options).flatten().tolist()
    assert got == [10, 10, 10, 20, 5, 0, 0, 0, 0]


def sample(grid: Tensor, points: Tensor, sample_of: Tensor, padding: str) -> Tensor:  # [N, C]
    """torch's own trilinear interpolation of each sample, at points in the range."""
    minimum, maximum = torch.tensor(RANGE, dtype=torch.float64, device=points.device).view(2, 3)
    unit = (points[:, :3].double() - minimum) / (maximum - minimum) * 2 - 1
    out = []
    for one, batch in zip(unit, sample_of.tolist(), strict=True):
        place = one.flip(0).view(1, 1, 1, 1, 3)
        value = F.grid_sample(grid[batch : batch + 1], place, "bilinear", padding, False)
        out.append(value.flatten())
    return torch.stack(out)


@pytest.mark.parametrize("density", [1.0, 0.4])
def test_equals_dense_interpolation(device: torch.device, density: float) -> None:
    voxels = some_voxels(device, density)
    features = some_features(voxels, 3, torch.float64)
    points, batch_index = some_points(300, device)
    minimum, maximum = torch.tensor(RANGE, device=device).view(2, 3)
    inside = ((points[:, :3] > minimum) & (points[:, :3] < maximum)).all(1)
    points, batch_index = points[inside], batch_index[inside]
    got = devoxelize(features, voxels, points, batch_index, point_cloud_range=RANGE)
    dense = SparseTensor(features, voxels).dense()
    if density == 1:
        want = sample(dense, points, batch_index, "border")
    else:
        ones = SparseTensor(torch.ones_like(features[:, :1]), voxels).dense()
        part = sample(ones, points, batch_index, "zeros")
        sums = sample(dense, points, batch_index, "zeros")
        want = torch.where(part > 0, sums / part, 0)
        assert bool((part == 0).any())
    assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("num_points", [0, 1, 31, 33, 1023])
def test_equals_reference(device: torch.device, num_points: int, mode: Any) -> None:
    voxels = some_voxels(device)
    points, batch_index = some_points(num_points, device)
    for dtype, tolerance in DTYPES.items():
        features = some_features(voxels, 6, dtype)
        results = []
        for function in (devoxelize, reference):
            leaf = features.clone().requires_grad_()
            out = function(leaf, voxels, points, batch_index, point_cloud_range=RANGE, mode=mode)
            assert out.dtype == dtype
            assert out.shape == (num_points, 6)
            (grad,) = torch.autograd.grad(out, leaf, torch.cos(out.detach()))
            results.append((out, grad))
        # Gradients of half types are rounded for each point in one, for each voxel in the other.
        assert_close(results[0][0], results[1][0], rtol=tolerance, atol=tolerance)
        assert_close(results[0][1], results[1][1], rtol=4 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("mode", MODES)
def test_few_voxels_and_one_sample(device: torch.device, mode: Any) -> None:
    points, _ = some_points(50, device)
    for num_voxels in (0, 1):
        indices = torch.tensor([[0, 2, 3, 1]], dtype=torch.int32, device=device)[:num_voxels]
        voxels = VoxelSet(indices, SHAPE, 1)
        features = torch.ones(num_voxels, 3, device=device)
        got = devoxelize(features, voxels, points, point_cloud_range=RANGE, mode=mode)
        want = reference(features, voxels, points, point_cloud_range=RANGE, mode=mode)
        assert_close(got, want)


@pytest.mark.parametrize("mode", MODES)
def test_real_scan(real_points: Tensor, device: torch.device, mode: Any) -> None:
    bounds = (-50.0, -50.0, -4.0, 50.0, 50.0, 2.0)
    points = real_points[::20].to(device)
    (voxels,) = voxelize(points, point_cloud_range=bounds, spatial_shape=(500, 500, 30))
    features = some_features(voxels, 4)
    got = devoxelize(features, voxels, points, point_cloud_range=bounds, mode=mode)
    want = reference(features, voxels, points, point_cloud_range=bounds, mode=mode)
    assert_close(got, want, rtol=1e-4, atol=1e-4)
    if mode == "nearest":
        rows = voxels.point_rows.long()
        want = torch.where(rows[:, None] >= 0, features[rows.clamp(min=0)], 0)
        assert torch.equal(got, want)


def test_a_grid_too_large_for_a_bitmap(device: torch.device) -> None:
    shape = (2**20, 2**20, 2**10)
    cells = [[1, 7, 8, 9], [0, 2**20 - 1, 5, 0], [1, 7, 8, 8]]
    voxels = VoxelSet(torch.tensor(cells, dtype=torch.int32, device=device), shape, 2)
    points = torch.tensor([[7.5, 8.5, 9.25], [7.9, 8.1, 8.5]], device=device)
    features = torch.tensor([[4.0], [100.0], [8.0]], device=device)
    batch_index = torch.ones(2, dtype=torch.int64, device=device)
    got = devoxelize(features, voxels, points, batch_index, point_cloud_range=(0, 0, 0, *shape))
    assert got.tolist() == [[5.0], [8.0]]


def test_numbers_that_are_not_finite_stay_where_they_are(device: torch.device) -> None:
    voxels = some_voxels(device)
    points, batch_index = some_points(500, device)
    features = some_features(voxels, 2)
    want = devoxelize(features, voxels, points, batch_index, point_cloud_range=RANGE)
    rows, _ = torch.ops.elite_ops.devoxelize(
        voxels.indices, SHAPE, 2, points, batch_index, RANGE, False
    )
    features[0] = float("nan")
    got = devoxelize(features, voxels, points, batch_index, point_cloud_range=RANGE)
    meets = (rows == 0).any(1)
    assert 0 < int(meets.sum()) < len(points)
    assert torch.equal(got.isnan().all(1), meets)
    assert torch.equal(got[~meets], want[~meets])


@pytest.mark.parametrize("mode", MODES)
def test_gradients(device: torch.device, mode: Any) -> None:
    voxels = some_voxels(device, 0.1)
    points, batch_index = some_points(20, device)
    leaf = some_features(voxels, 2, torch.float64).requires_grad_()

    def run(features: Tensor) -> Tensor:
        return devoxelize(features, voxels, points, batch_index, point_cloud_range=RANGE, mode=mode)

    assert torch.autograd.gradcheck(run, leaf)
    assert torch.autograd.gradgradcheck(run, leaf)


@pytest.mark.parametrize("mode", MODES)
def test_inference_gives_the_same_bits(device: torch.device, mode: Any) -> None:
    """Though it makes nothing for a gradient."""
    voxels = some_voxels(device)
    points, batch_index = some_points(200, device)
    leaf = some_features(voxels, 5).requires_grad_()
    arguments: Any = {"point_cloud_range": RANGE, "mode": mode}
    want = devoxelize(leaf, voxels, points, batch_index, **arguments)
    for inference in (torch.no_grad, torch.inference_mode):
        with inference():
            got = devoxelize(leaf, voxels, points, batch_index, **arguments)
        assert torch.equal(got, want)


@pytest.mark.parametrize("nearest", [False, True])
def test_opcheck(device: torch.device, nearest: bool) -> None:
    voxels = some_voxels(device)
    points, batch_index = some_points(20, device)
    for samples in (None, batch_index):
        arguments = (voxels.indices, SHAPE, 2, points, samples, list(RANGE), nearest)
        opcheck(torch.ops.elite_ops.devoxelize.default, arguments)


@pytest.mark.parametrize("mode", MODES)
def test_compiles(device: torch.device, mode: Any) -> None:
    def run(features: Tensor, indices: Tensor, points: Tensor, batch_index: Tensor) -> Tensor:
        voxels = VoxelSet(indices, SHAPE, 2)
        return devoxelize(features, voxels, points, batch_index, point_cloud_range=RANGE, mode=mode)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager", dynamic=True)
    for num_points in (40, 70):
        voxels = some_voxels(device)
        leaf = some_features(voxels, 3).requires_grad_()
        arguments = (leaf, voxels.indices, *some_points(num_points, device))
        got, want = compiled(*arguments), run(*arguments)
        assert_close(got, want)
        (grad,) = torch.autograd.grad(got.square().sum(), leaf)
        assert_close(grad, torch.autograd.grad(want.square().sum(), leaf)[0])


def test_non_contiguous(device: torch.device) -> None:
    voxels = some_voxels(device)
    points, batch_index = some_points(60, device)
    features = some_features(voxels, 4)
    want = devoxelize(features, voxels, points, batch_index, point_cloud_range=RANGE)
    strided = VoxelSet(voxels.indices.t().contiguous().t(), SHAPE, 2)
    got = devoxelize(
        features.t().contiguous().t(),
        strided,
        points.repeat(1, 2)[:, :4],
        batch_index.repeat_interleave(2)[::2],
        point_cloud_range=RANGE,
    )
    assert torch.equal(got, want)


def arguments_of(device: torch.device, **other: Any) -> dict[str, Any]:
    voxels = other.get("voxels") or some_voxels(device)
    points, batch_index = some_points(9, device)
    defaults: dict[str, Any] = {
        "features": torch.ones(len(voxels), 2, device=device),
        "voxels": voxels,
        "points": points,
        "batch_index": batch_index,
        "point_cloud_range": RANGE,
    }
    return {**defaults, **other}


def voxels_at(*cells: list[int], **other: Any) -> VoxelSet:
    return VoxelSet(torch.tensor(cells, dtype=torch.int32), SHAPE, 2, **other)


BAD: list[Any] = [
    ({"mode": "linear"}, ValueError, "`mode` must be one of .* got 'linear'"),
    ({"features": torch.ones(3, 2)}, ValueError, r"`features` must be \[\d+, C\], .* \(3, 2\)"),
    ({"features": torch.ones(3, 2).int()}, TypeError, "`features` must be floating, got torch.int"),
    (
        {"voxels": VoxelSet(torch.zeros(1, 3, dtype=torch.int32), (4, 4), 1)},
        ValueError,
        "`voxels` must have 3 axes, got 2",
    ),
    (
        {"voxels": voxels_at([0, 0, 0, 0], num_rows=torch.tensor(1))},
        ValueError,
        "`voxels` must have valid rows alone, got a padded buffer",
    ),
    ({"points": torch.ones(9)}, ValueError, "`points` must"),
    ({"points": torch.ones(9, 2)}, ValueError, "`points` must have at least 3 columns"),
    ({"points": torch.ones(9, 3).double()}, TypeError, "`points` must be Float"),
    ({"batch_index": torch.ones(8).long()}, ValueError, "`batch_index` must"),
    ({"batch_index": torch.ones(9).int()}, TypeError, "`batch_index` must be Long"),
    ({"point_cloud_range": RANGE[:5]}, ValueError, "`point_cloud_range` must have 6 entries"),
    ({"point_cloud_range": (0, 0, 0, 1, 0, 1)}, ValueError, "`point_cloud_range` must be finite"),
    immediate({"batch_index": torch.full((9,), 2)}, IndexError, r"`batch_index` .* \(2\), got 2"),
    immediate({"voxels": voxels_at([0, 0, 8, 0])}, IndexError, "`voxels` must be inside the grid"),
    immediate({"voxels": voxels_at([0] * 4, [0] * 4)}, ValueError, "`voxels` must be unique"),
]


@pytest.mark.parametrize(("other", "error", "message"), BAD)
def test_rejects(other: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"devoxelize: {message}"):
        devoxelize(**arguments_of(torch.device("cpu"), **other))


REPORTED: list[tuple[list[list[int]], int, str]] = [
    ([[0, 0, 0, 0]], 2, "devoxelize: `voxels` must be inside .* `batch_index` name one"),
    ([[0, 0, 8, 0]], 0, "devoxelize: `voxels` must be inside"),
    ([[0] * 4, [0] * 4], 0, "devoxelize: `voxels` must be unique"),
]


@pytest.mark.gpu
@pytest.mark.parametrize(("cells", "sample_of_all", "message"), REPORTED)
def test_cuda_reports(
    cuda: torch.device, cells: list[list[int]], sample_of_all: int, message: str
) -> None:
    voxels = voxels_at(*cells).to(cuda)
    batch_index = torch.full((9,), sample_of_all, device=cuda)
    got = devoxelize(**arguments_of(cuda, voxels=voxels, batch_index=batch_index))
    if len(cells) == 1:
        assert bool((got == 0).all()) == (sample_of_all == 2 or cells[0][2] == 8)
    with pytest.raises(IndexError, match=message):
        check_device_errors()
