"""Points at their pixels: the nearest wins, hidden ones are left out, nothing else is lost."""

from dataclasses import replace

import numpy as np
import pytest

from elite.pseudo_label.config import VisibilityConfig
from elite.pseudo_label.prompts import LOW_RESOLUTION, Crop, low_resolution_labels
from elite.pseudo_label.scatter import (
    ProjectedPoints,
    nearest_per_cell,
    scatter_points,
    visible_points,
)
from elite.types import Scan

SIZE = (40, 100)
PROJECTION = np.array([[50, -100, 0, 0], [20, 0, -100, 0], [1, 0, 0, 0]], dtype=np.float32)
CONFIG = VisibilityConfig(rows=6, columns=1, relative=0.1, absolute=0.2)


def scan_of(pixels: list[tuple[float, float, float]], labels: list[int], **values) -> Scan:
    """Points at given row, column and depth."""
    points = [(d, (50 - c) * d / 100, (20 - r) * d / 100, 0) for r, c, d in pixels]
    return Scan(
        points=np.array(points, dtype=np.float32).reshape(-1, 4),
        name="00/000000",
        labels=np.array(labels, dtype=np.int64),
        image=np.zeros((*SIZE, 3), dtype=np.uint8),
        projection=PROJECTION,
        **values,
    )


def projected(pixel: np.ndarray, depth: np.ndarray, labels: np.ndarray, size: tuple[int, int]):
    return ProjectedPoints(
        pixel=pixel.astype(np.int64),
        depth=depth.astype(np.float32),
        labels=labels.astype(np.int64),
        instances=np.zeros(len(labels), dtype=np.int64),
        unlabelled_pixel=np.zeros((0, 2), dtype=np.int64),
        image_size=size,
        num_projected=len(labels),
        num_hidden=0,
    )


def test_points_carry_their_labels_to_their_pixels() -> None:
    scan = scan_of([(5.5, 7.5, 10), (30.2, 80.9, 20), (30.5, 60.5, 20)], [1, 9, 0])
    scan.instances = np.array([300, 0, 0])
    points = visible_points(scan, VisibilityConfig())
    sparse = scatter_points(points.pixel, points, points.image_size)
    assert (sparse.labels[5, 7], sparse.labels[30, 80]) == (1, 9)
    assert (sparse.labels != 0).sum() == 2
    assert sparse.instances[5, 7] == 300
    assert (points.num_projected, points.num_hidden) == (3, 0)
    np.testing.assert_array_equal(points.unlabelled_pixel, [[30, 60]])


def test_points_behind_the_sensor_or_outside_the_image_have_no_pixel() -> None:
    scan = scan_of([(5, 7, -10), (50, 7, 10), (5, 101, 10)], [1, 1, 1])
    assert visible_points(scan, VisibilityConfig()).num_projected == 0


@pytest.mark.parametrize(
    ("row", "column", "depth", "visible"),
    [
        (10.5, 50.5, 20, False),  # the very pixel
        (14.5, 51.5, 20, False),  # in the window, between the nearer surface's points
        (17.5, 50.5, 20, True),  # below the window
        (10.5, 52.5, 20, True),  # beside it
        (12.5, 50.5, 11.1, True),  # as far as the same surface may be
        (12.5, 50.5, 11.3, False),
    ],
)
def test_what_is_well_behind_a_neighbour_is_hidden(
    row: float, column: float, depth: float, visible: bool
) -> None:
    for label in (1, 0):  # unlabelled points hide others, too
        scan = scan_of([(10.5, 50.5, 10), (row, column, depth)], [label, 9])
        points = visible_points(scan, CONFIG)
        assert (9 in points.labels) is visible
        assert points.num_hidden == (not visible)
    off = visible_points(scan, replace(CONFIG, enabled=False))
    assert 9 in off.labels


def test_depth_test_equals_a_loop_over_pairs() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform([0.1, 0.1, 5], [39.9, 99.9, 30], size=(400, 3))
    scan = scan_of(pixels.tolist(), list(range(1, 401)))
    seen = visible_points(scan, VisibilityConfig(rows=3, columns=2)).labels
    row, col = np.floor(pixels[:, :2]).astype(int).T
    depth = scan.points[:, 0]
    near = (np.abs(row[:, None] - row) <= 3) & (np.abs(col[:, None] - col) <= 2)
    nearest = np.where(near, depth[None], np.inf).min(axis=1)
    np.testing.assert_array_equal(seen, 1 + np.flatnonzero(depth <= nearest * 1.2 + 0.5))


def test_the_nearest_point_wins_a_cell() -> None:
    cell = np.array([3, 1, 3, 1, 3])
    depth = np.array([5, 4, 2, 4, 2], dtype=np.float32)
    np.testing.assert_array_equal(nearest_per_cell(cell, depth), [1, 2])  # ties: the first row
    assert nearest_per_cell(cell[:0], depth[:0]).size == 0


def test_the_small_frame_keeps_what_shrinking_a_canvas_would_lose() -> None:
    rng = np.random.default_rng(3)
    size = (376, 1241)
    pixel = np.stack([rng.integers(0, n, 4000) for n in size], axis=1)
    labels = np.where(np.arange(4000) < 4, 7, 9)  # a class of four points
    points = projected(pixel, rng.uniform(5, 50, 4000), labels, size)
    crop = Crop(0, 0, size[1], size[0])
    sparse = low_resolution_labels(points, crop)
    cells = np.unique(pixel * LOW_RESOLUTION // 1241, axis=0)
    assert (sparse.labels != 0).sum() == len(cells)
    assert (sparse.labels == 7).sum() >= 3
    canvas = np.zeros((1241, 1241), dtype=np.int64)
    canvas[pixel[:, 0], pixel[:, 1]] = labels
    centres = ((np.arange(LOW_RESOLUTION) + 0.5) * 1241 / LOW_RESOLUTION).astype(int)
    shrunk = canvas[np.ix_(centres, centres)]
    assert (shrunk != 0).sum() < 0.06 * len(cells)
    assert (shrunk == 7).sum() == 0


def test_cells_are_floors_of_scaled_pixels() -> None:
    size = (300, 200)
    pixel, labels = np.array([[299, 199], [0, 0], [150, 7]]), np.array([1, 2, 3])
    points = projected(pixel, np.ones(3), labels, size)
    sparse = low_resolution_labels(points, Crop(0, 0, 200, 300))
    assert (sparse.labels[255, 169], sparse.labels[0, 0], sparse.labels[128, 5]) == (1, 2, 3)
    shifted = low_resolution_labels(points, Crop(100, 100, 100, 200))  # shows the first alone
    assert shifted.labels[254, 126] == 1
    assert (shifted.labels != 0).sum() == 1


def test_a_scan_without_image_is_refused() -> None:
    scan = scan_of([(5, 7, 10)], [1])
    scan.image = None
    with pytest.raises(ValueError, match="must have labels, an image and a projection"):
        visible_points(scan, VisibilityConfig())


def test_a_scan_without_points() -> None:
    points = visible_points(scan_of([], []), VisibilityConfig())
    assert not scatter_points(points.pixel, points, points.image_size).labels.any()
