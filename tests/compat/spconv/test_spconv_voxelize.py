"""Voxel generators of 2.x and 1.x: first come, first kept, in that order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from spconv_scene import the_real_one
from torch import Tensor
from torch.testing import assert_close

from elite_ops.compat.spconv import tensorview, utils
from elite_ops.compat.spconv.pytorch.utils import PointToVoxel, gather_features_by_pc_voxel_id

SIZE, RANGE = [0.5, 1.0, 2.0], [-2.0, 0.0, 0.0, 2.0, 4.0, 4.0]
LIMITS = {"num_point_features": 5, "max_num_voxels": 30, "max_num_points_per_voxel": 3}


def cloud(number: int = 200, channels: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(number, channels, generator=generator) * 5 - 0.5
    points[:, 0] -= 2
    points[3] = torch.tensor([*RANGE[:3], 7.0, 7.0])[:channels]  # on the border
    return points


def by_hand(
    points: Tensor, size: Sequence[float], bounds: Sequence[float], max_voxels: int, max_points: int
) -> tuple[list[list[Tensor]], list[tuple[int, ...]], list[int]]:
    """The points of each voxel, its cell (z, y, x), and the voxel of each point."""
    num_axes = len(size)
    cells = torch.floor(
        (points[:, :num_axes] - torch.tensor(bounds[:num_axes])) / torch.tensor(size)
    )
    number = [round((bounds[a + num_axes] - bounds[a]) / size[a]) for a in range(num_axes)]
    row_of: dict[tuple[int, ...], int] = {}
    voxels: list[list[Tensor]] = []
    rows = []
    for point, cell in zip(points, cells.int().tolist(), strict=True):
        inside = all(0 <= c < n for c, n in zip(cell, number, strict=True))
        key = tuple(cell[::-1])
        if not inside or (key not in row_of and len(voxels) == max_voxels):
            rows.append(-1)
            continue
        if key not in row_of:
            row_of[key] = len(voxels)
            voxels.append([])
        rows.append(row_of[key])
        if len(voxels[row_of[key]]) < max_points:
            voxels[row_of[key]].append(point)
    return voxels, list(row_of), rows


@pytest.mark.parametrize("num_axes", [1, 2, 3])
def test_points_to_voxels(device: torch.device, num_axes: int) -> None:
    points = cloud()
    size, bounds = SIZE[:num_axes], [*RANGE[:num_axes], *RANGE[3 : 3 + num_axes]]
    generator = PointToVoxel(size, bounds, **LIMITS, device=device)
    voxels, indices, counts, rows = generator.generate_voxel_with_id(points.to(device))
    want, cells, rows_by_hand = by_hand(points, size, bounds, 30, 3)
    assert indices.tolist() == [list(cell) for cell in cells]
    assert counts.tolist() == [len(kept) for kept in want]
    assert rows.tolist() == rows_by_hand
    assert (indices.dtype, counts.dtype, rows.dtype) == (torch.int32, torch.int32, torch.int64)
    for got, kept in zip(voxels.cpu(), want, strict=True):
        assert torch.equal(got[: len(kept)], torch.stack(kept))
        assert not got[len(kept) :].any()
    for got, want_part in zip(generator(points.to(device)), (voxels, indices, counts), strict=True):
        assert torch.equal(got, want_part)


def test_empty_slots_may_hold_the_mean() -> None:
    generator = PointToVoxel(SIZE, RANGE, **LIMITS)
    voxels, _, counts = generator(cloud())
    filled, *_ = generator(cloud(), empty_mean=True)
    for plain, got, number in zip(voxels, filled, counts.tolist(), strict=True):
        assert torch.equal(got[:number], plain[:number])
        assert_close(got[number:], plain[:number].mean(0).expand(3 - number, 5))


def test_attributes() -> None:
    generator = PointToVoxel(SIZE, RANGE, **LIMITS, device=torch.device("cpu:0"))
    assert generator.grid_size == [2, 4, 8]
    assert generator.grid_stride == [32, 8, 1]
    assert generator.vsize == SIZE[::-1]
    assert generator.coors_range == [0, 0, -2, 4, 4, 2]
    assert (generator.ndim, generator.num_point_features) == (3, 5)
    assert (generator.max_num_voxels, generator.max_num_points_per_voxel) == (30, 3)


def test_no_points() -> None:
    voxels, indices, counts, rows = PointToVoxel(SIZE, RANGE, **LIMITS).generate_voxel_with_id(
        torch.empty(0, 5)
    )
    assert (voxels.shape, indices.shape) == ((0, 3, 5), (0, 3))
    assert len(counts) == len(rows) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PointToVoxel(SIZE, RANGE, **LIMITS)(torch.zeros(3, 4)), r"must be \[N, 5\]"),
        (lambda: PointToVoxel(SIZE, RANGE[:4], **LIMITS), "twice as many"),
        (
            lambda: PointToVoxel(SIZE, RANGE, **LIMITS)(torch.zeros(3, 5, device="meta")),
            "`pc` must be on cpu, got meta",
        ),
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("hand_over", [lambda points: points, tensorview.from_numpy])
def test_the_generator_of_arrays(hand_over: Any) -> None:
    points = cloud().numpy()
    generator = utils.Point2VoxelCPU3d(vsize_xyz=SIZE, coors_range_xyz=RANGE, **LIMITS)
    found = [part.numpy() for part in generator.point_to_voxel(hand_over(points))]
    for got, want in zip(found, PointToVoxel(SIZE, RANGE, **LIMITS)(cloud()), strict=True):
        assert np.array_equal(got, want.numpy())
    filled = generator.point_to_voxel_empty_mean(hand_over(points))[0].numpy()
    want, *_ = PointToVoxel(SIZE, RANGE, **LIMITS)(cloud(), empty_mean=True)
    assert np.array_equal(filled, want.numpy())
    assert generator.grid_size == [2, 4, 8]
    flat = utils.Point2VoxelCPU2d(SIZE[:2], [*RANGE[:2], *RANGE[3:5]], 5, 30, 3)
    assert flat.point_to_voxel(points)[1].shape[1] == 2
    line = utils.Point2VoxelCPU1d(SIZE[:1], [RANGE[0], RANGE[3]], 5, 30, 3)
    assert line.point_to_voxel(points)[1].shape[1] == 1


def test_the_generators_of_1() -> None:
    points = cloud().numpy()
    want = [part.numpy() for part in PointToVoxel(SIZE, RANGE, **LIMITS)(cloud())]
    first = utils.VoxelGenerator(SIZE, RANGE, 3, 30, full_mean=False)
    for got, part in zip(first.generate(points), want, strict=True):
        assert np.array_equal(got, part)
    assert first.grid_size.tolist() == [8, 4, 2]
    assert first.voxel_size.tolist() == SIZE
    assert first.point_cloud_range.tolist() == RANGE
    assert first.max_num_points_per_voxel == 3
    mean = utils.VoxelGenerator(SIZE, RANGE, 3, 30).generate(points)[0]
    filled, *_ = PointToVoxel(SIZE, RANGE, **LIMITS)(cloud(), empty_mean=True)
    assert np.array_equal(mean, filled.numpy())
    second = utils.VoxelGeneratorV2(
        voxel_size=SIZE, point_cloud_range=RANGE, max_num_points=3, max_voxels=30
    )
    found = second.generate(points)
    for name, part in zip(("voxels", "coordinates", "num_points_per_voxel"), want, strict=True):
        assert np.array_equal(found[name], part)
    assert found["voxel_num"] == len(want[0])
    mask = np.arange(3) < want[2][:, None]
    assert np.array_equal(found["voxel_point_mask"][:, :, 0], mask.astype(np.float32))
    assert len(second.generate(points, max_voxels=7)["voxels"]) == 7


def test_the_generators_of_1_pad() -> None:
    points = cloud(20).numpy()
    for generator in (
        utils.VoxelGenerator(SIZE, RANGE, 3, 50, full_mean=False),
        utils.VoxelGeneratorV2(SIZE, RANGE, 3, 50),
    ):
        found, padded = generator.generate(points), generator.generate_multi_gpu(points)
        if isinstance(found, dict):
            assert padded["voxel_num"] == found["voxel_num"]
            names = ("voxels", "coordinates", "num_points_per_voxel")
            found, padded = ([parts[name] for name in names] for parts in (found, padded))
        for part, rows in zip(found, padded, strict=True):
            assert len(rows) == 50
            assert np.array_equal(rows[: len(part)], part)
            assert not rows[len(part) :].any()
    with pytest.raises(NotImplementedError, match="`full_mean` and `block_filtering` must be"):
        utils.VoxelGeneratorV2(SIZE, RANGE, 3, block_filtering=True)


def test_points_of_float64_stay_so() -> None:
    points = cloud().double().numpy()
    voxels = utils.VoxelGeneratorV2(SIZE, RANGE, 3, 30).generate(points)["voxels"]
    assert voxels.dtype == np.float64


def test_features_go_back_to_points() -> None:
    features, rows = torch.tensor([[1.0], [2.0]]), torch.tensor([1, -1, 0])
    assert gather_features_by_pc_voxel_id(features, rows).tolist() == [[2], [0], [1]]
    assert gather_features_by_pc_voxel_id(features, rows, -5).tolist() == [[2], [-5], [1]]


@pytest.mark.parametrize("name", ["rbbox_iou", "non_max_suppression", "Point2VoxelGPU3d"])
def test_what_is_not_there(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"^{name}: "):
        getattr(utils, name)(1, 2)
    with utils.nullcontext():
        assert name in utils.__all__


@pytest.mark.cpu_kernels("spconv's CPU build is compared with the CPU's kernels")
@pytest.mark.parametrize("limit", [(30, 3), (1000, 10)])
def test_against_spconv(limit: tuple[int, int]) -> None:
    the_real_one()
    real = the_real_one("spconv.pytorch.utils")
    points = cloud(2000)
    results = [
        kind(SIZE, RANGE, 5, *limit).generate_voxel_with_id(points)
        for kind in (real.PointToVoxel, PointToVoxel)
    ]
    for want, got in zip(*results, strict=True):
        assert got.dtype == want.dtype
        assert_close(got, want, rtol=1e-6, atol=1e-6)
