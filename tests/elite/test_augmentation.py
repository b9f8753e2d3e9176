"""Augmentation: what may change, by how much, and what must not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from elite.data import AugmentationConfig, augment
from elite.data.augmentation import random_sector
from elite.types import Scan
from elite_ops import voxelize

NOTHING = AugmentationConfig(
    rotation=0, flip_x=False, flip_y=False, scale=(1, 1), translation=0, dropout=0
)


@pytest.fixture
def scan() -> Scan:
    rng = np.random.default_rng(0)
    points = rng.uniform(-40, 40, size=(1000, 4)).astype(np.float32)
    labels = np.arange(1000)
    return Scan(points, "00/000000", labels, labels * 2, projection=rng.normal(size=(3, 4)))


def changed(scan: Scan, seed: int = 0, **options: object) -> Scan:
    return augment(scan, replace(NOTHING, **options), np.random.default_rng(seed))


def test_nothing_asked_for_changes_nothing(scan: Scan) -> None:
    np.testing.assert_array_equal(changed(scan).points, scan.points)


def test_the_scan_given_is_left_alone(scan: Scan) -> None:
    before = scan.points.copy()
    augment(scan, AugmentationConfig(), np.random.default_rng(0))
    np.testing.assert_array_equal(scan.points, before)


def test_rotation_keeps_heights_and_distances_and_covers_the_circle(scan: Scan) -> None:
    x, y = scan.points[0, :2]
    angles = []
    for seed in range(200):
        points = changed(scan, seed, rotation=360).points
        np.testing.assert_allclose(
            np.hypot(*points[:, :2].T), np.hypot(*scan.points[:, :2].T), 1e-4
        )
        np.testing.assert_array_equal(points[:, 2:], scan.points[:, 2:])
        turned = np.arctan2(points[0, 1], points[0, 0]) - np.arctan2(y, x)
        angles.append(np.rad2deg(turned) % 360)
    assert np.histogram(angles, bins=4, range=(0, 360))[0].min() > 30


def test_flips_are_independent_coins(scan: Scan) -> None:
    signs = set()
    for seed in range(30):
        points = changed(scan, seed, flip_x=True, flip_y=True).points
        ratio = np.unique(points[:, :3] / scan.points[:, :3], axis=0)
        assert len(ratio) == 1
        signs.add(tuple(ratio[0]))
    assert signs == {(1, 1, 1), (-1, 1, 1), (1, -1, 1), (-1, -1, 1)}


def test_scale_is_one_factor_for_x_and_y(scan: Scan) -> None:
    factors = []
    for seed in range(200):
        points = changed(scan, seed, scale=(0.95, 1.05)).points
        ratio = points[:, :2] / scan.points[:, :2]
        assert np.ptp(ratio) < 1e-5
        np.testing.assert_array_equal(points[:, 2], scan.points[:, 2])
        factors.append(ratio.mean())
    assert 0.95 <= min(factors) < 0.96
    assert 1.04 < max(factors) <= 1.05


def test_translation_is_one_normal_shift_per_axis(scan: Scan) -> None:
    shifts = np.array(
        [changed(scan, s, translation=0.1).points[0, :3] - scan.points[0, :3] for s in range(500)]
    )
    np.testing.assert_allclose(shifts.std(axis=0), 0.1, rtol=0.15)
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=0.02)


def test_dropped_points_are_gone_and_labels_follow(scan: Scan) -> None:
    sizes = []
    for seed in range(100):
        thinned = changed(scan, seed, dropout=0.2)
        sizes.append(len(thinned.points))
        kept = thinned.labels  # the labels of this scan number its points
        np.testing.assert_array_equal(thinned.points, scan.points[kept])
        np.testing.assert_array_equal(thinned.instances, scan.instances[kept])
        assert len(np.unique(kept)) == len(kept)
    assert 800 <= min(sizes) < 850
    assert 950 < max(sizes) <= 1000


def test_pixels_of_changed_points_stay_where_they_were(scan: Scan) -> None:
    after = augment(scan, AugmentationConfig(), np.random.default_rng(3))
    kept = after.labels
    before = np.c_[scan.points[kept, :3], np.ones(len(kept))] @ scan.projection.T
    moved = np.c_[after.points[:, :3], np.ones(len(kept))] @ after.projection.T
    np.testing.assert_allclose(moved, before, rtol=1e-3, atol=1e-3)


def test_one_seed_gives_one_scan(scan: Scan) -> None:
    first, second, other = (
        augment(scan, AugmentationConfig(), np.random.default_rng((1, 2, i))) for i in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.points, second.points)
    assert first.points.shape != other.points.shape


@pytest.mark.parametrize("size", [0, 1])
def test_tiny_scans(size: int) -> None:
    scan = Scan(np.zeros((size, 4), dtype=np.float32), "tiny", np.zeros(size, dtype=np.int64))
    assert len(augment(scan, AugmentationConfig(), np.random.default_rng(0)).points) == size


def test_a_sector_keeps_one_wedge_of_the_scan(scan: Scan) -> None:
    kept = []
    for seed in range(50):
        result = random_sector(scan, 90, np.random.default_rng(seed))
        assert result.labels is not None
        np.testing.assert_array_equal(result.points, scan.points[result.labels])
        azimuth = np.rad2deg(np.arctan2(scan.points[:, 1], scan.points[:, 0]))
        inside = np.isin(np.arange(1000), result.labels)
        # All azimuths of the wedge, turned so that it starts at 0, lie before those of the rest.
        start = azimuth[inside][np.argmax(gap_before(azimuth[inside]))]
        turned = (azimuth - start) % 360
        assert turned[inside].max() < 90
        assert turned[~inside].min() > turned[inside].max()
        kept.append(inside.mean())
    assert np.mean(kept) == pytest.approx(0.25, abs=0.03)


def gap_before(azimuth: np.ndarray) -> np.ndarray:
    """How far each of the azimuths (degrees) is from the one before it on the circle."""
    order = np.argsort(azimuth)
    gaps = np.empty(len(azimuth))
    gaps[order] = (azimuth[order] - np.roll(azimuth[order], 1)) % 360
    return gaps


def test_the_range_is_that_of_the_points_as_they_are_afterwards() -> None:
    """Not before: what is turned out of the range has no voxel, what is turned into it has one."""
    ahead, corner = (60.0, 0.0, 0.0, 0.5), (49.0, 49.0, 0.0, 0.5)
    scan = Scan(
        np.array([ahead, corner] * 50, np.float32), "square", labels=np.zeros(100, np.int64)
    )
    inside = []
    for seed in range(20):
        turned = changed(scan, seed, rotation=360.0)
        assert len(turned.points) == 100
        points = torch.from_numpy(turned.points)
        (voxels,) = voxelize(
            points, point_cloud_range=(-50, -50, -4, 50, 50, 2), spatial_shape=(1000, 1000, 60)
        )
        has_voxel = voxels.point_rows >= 0
        assert torch.equal(has_voxel, (points[:, :2].abs() < 50).all(dim=1))
        inside.append(has_voxel[:2].tolist())
    assert [True, False] in inside  # against what their places said before
    assert [False, True] in inside
