"""CutMix: what is pasted stands on free ground, and nothing else changes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from elite.data import (
    AugmentationConfig,
    CutMixConfig,
    DatasetSpec,
    SemanticKitti,
    TrainingScans,
    paste_instances,
)
from elite.types import Scan

CONFIG = CutMixConfig(probability=1, min_points=5, attempts=50)


def plane(height: float = -1.7) -> Scan:
    """Ground with a point every half metre, all road."""
    x, y = (axis.ravel() for axis in np.meshgrid(*[np.arange(-20, 20, 0.5)] * 2))
    points = np.stack([x, y, np.full_like(x, height), np.zeros_like(x)], 1).astype(np.float32)
    return Scan(
        points,
        "00/000000",
        labels=np.full(len(x), 9),
        instances=np.zeros(len(x), np.int64),
        pixel=np.zeros((len(x), 2), np.int32),
    )


@pytest.fixture
def donor() -> Scan:
    """A car and a person with one instance id, a small thing, and ground."""
    rng = np.random.default_rng(0)

    def box(centre: tuple[float, float], size: float, count: int) -> np.ndarray:
        shape = rng.uniform([-size, -size, -1, 0], [size, size, 0.5, 1], (count, 4))
        shape[:, :2] += centre
        return shape

    parts = [box((8, 3), 1, 60), box((5, -6), 0.4, 30), box((9, 9), 0.4, 3), box((0, 0), 9, 50)]
    labels, instances = [1, 6, 6, 9], [4, 4, 5, 0]
    sizes = [len(part) for part in parts]
    points = np.concatenate(parts).astype(np.float32)
    return Scan(points, "00/000001", np.repeat(labels, sizes), np.repeat(instances, sizes))


def test_instances_stand_on_the_ground_at_their_distance(donor: Scan) -> None:
    scan = plane()
    mixed = paste_instances(scan, donor, CONFIG, np.random.default_rng(0))
    pasted = mixed.take(np.arange(len(scan.points), len(mixed.points)))
    assert sorted(np.unique(pasted.labels)) == [1, 6]
    assert len(pasted.points) == 90  # the thing of three points is too small, the ground no thing
    for label in (1, 6):
        old = donor.points[(donor.labels == label) & (donor.instances == 4)]
        new = pasted.points[pasted.labels == label]
        np.testing.assert_allclose(np.hypot(*new[:, :2].T), np.hypot(*old[:, :2].T), rtol=1e-5)
        np.testing.assert_allclose(np.ptp(new[:, 2]), np.ptp(old[:, 2]), rtol=1e-5)
        assert new[:, 2].min() == pytest.approx(-1.7)
        np.testing.assert_array_equal(new[:, 3], old[:, 3])
    assert (pasted.pixel == -1).all()
    assert (pasted.instances == 4).all()


def test_the_scan_keeps_its_points(donor: Scan) -> None:
    scan = plane()
    before = scan.points.copy()
    mixed = paste_instances(scan, donor, CONFIG, np.random.default_rng(1))
    np.testing.assert_array_equal(mixed.points[: len(before)], before)
    np.testing.assert_array_equal(scan.points, before)
    assert len(scan.labels) == len(before)


def test_nothing_is_put_where_there_is_no_ground_or_no_room(donor: Scan) -> None:
    nothing = plane().take(np.arange(0))
    assert len(paste_instances(nothing, donor, CONFIG, np.random.default_rng(0)).points) == 0
    roofed = plane().take(np.arange(len(plane().points)).repeat(2))
    roofed.points[::2, 2] += 1.0
    mixed = paste_instances(roofed, donor, CONFIG, np.random.default_rng(0))
    assert len(mixed.points) == len(roofed.points)


def test_at_most_so_many_and_seeded(donor: Scan) -> None:
    one = replace(CONFIG, max_instances=1)
    sizes = set()
    for seed in range(20):
        first, second = (
            paste_instances(plane(), donor, one, np.random.default_rng(seed)) for _ in range(2)
        )
        np.testing.assert_array_equal(first.points, second.points)
        sizes.add(len(first.points) - len(plane().points))
    assert sizes == {30, 60}


def test_labels_are_needed(donor: Scan) -> None:
    with pytest.raises(ValueError, match="00/000001 must have labels and instances"):
        paste_instances(plane(), replace(donor, labels=None), CONFIG, np.random.default_rng(0))


def test_a_scan_without_things_gives_nothing() -> None:
    mixed = paste_instances(plane(), plane(), CONFIG, np.random.default_rng(0))
    assert len(mixed.points) == len(plane().points)


def test_training_scans_are_mixed_on_request(dataset: Path, spec: DatasetSpec) -> None:
    """The fixture's instances fill the scan, so that clearance is no matter here."""
    scans = SemanticKitti([dataset], "train", spec)
    config = CutMixConfig(probability=0.5, clearance=10)

    def sizes(cut_mix: CutMixConfig | None) -> list[int]:
        still = AugmentationConfig(dropout=0)
        training = TrainingScans(scans, still, seed=0, cut_mix=cut_mix)
        return [len(training[epoch, 1].points) for epoch in range(20)]

    assert set(sizes(None)) == {600}
    mixed = sizes(config)
    assert mixed == sizes(config)
    assert 3 < sum(size > 600 for size in mixed) < 17
