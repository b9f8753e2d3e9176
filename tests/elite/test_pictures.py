"""Pictures: the pixels are where float64 arithmetic puts them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elite.data import DatasetSpec
from elite.pictures import birds_eye, camera_overlay, confusion_picture
from elite.pictures.camera import project
from elite.pictures.sheet import GAP, TITLE_HEIGHT, display_colours

PROJECTION = np.array([[0, -100, 0, 0], [0, 0, -100, 0], [1, 0, 0, 0]], dtype=np.float32)
PROJECTION[0] += 50 * PROJECTION[2]
PROJECTION[1] += 20 * PROJECTION[2]


def near(pixel: tuple[int, int, int], colour: np.ndarray) -> bool:
    return np.abs(np.array(pixel, dtype=int) - colour.astype(int)).max() < 40


def test_projection_against_float64() -> None:
    points = np.random.default_rng(0).uniform(-20, 20, size=(500, 4)).astype(np.float32)
    column, row, depth, visible = project(points, PROJECTION, (40, 100))
    x, y, z = points[:, :3].astype(np.float64).T
    with np.errstate(divide="ignore"):
        u, v = 50 - 100 * y / x, 20 - 100 * z / x
    expected = (x > 0) & (u > 0) & (u < 100) & (v > 0) & (v < 40)
    np.testing.assert_array_equal(visible, expected)
    np.testing.assert_allclose(column[expected], u[expected], atol=1e-4)
    np.testing.assert_allclose(row[expected], v[expected], atol=1e-4)
    np.testing.assert_allclose(depth, x)


@pytest.mark.parametrize(
    ("x", "y", "row", "column"), [(40, 0, 0.1, 0.5), (0, 40, 0.5, 0.1), (-20, -20, 0.7, 0.7)]
)
def test_from_above_x_points_up_and_y_left(
    spec: DatasetSpec, x: float, y: float, row: float, column: float
) -> None:
    cluster = np.random.default_rng(0).uniform(-1, 1, size=(4000, 4)) + np.array([x, y, 0, 0])
    labels = np.full(len(cluster), 1)
    picture = birds_eye(cluster.astype(np.float32), labels, None, spec, size=200)
    pixel = picture.getpixel((GAP + int(200 * column), GAP + TITLE_HEIGHT + int(200 * row)))
    assert near(pixel, display_colours(spec)[1])


def test_with_a_truth_there_are_three_panels(spec: DatasetSpec) -> None:
    points = np.random.default_rng(0).uniform(-10, 10, size=(1000, 4)).astype(np.float32)
    labels = np.random.default_rng(0).integers(0, 20, size=1000)
    one = birds_eye(points, labels, None, spec, size=300)
    three = birds_eye(points, labels, labels[::-1], spec, size=300)
    assert (one.width, three.width) == (300 + 2 * GAP, 3 * 300 + 4 * GAP)


def test_points_lie_on_the_image_where_they_project(spec: DatasetSpec) -> None:
    image = np.zeros((40, 100, 3), dtype=np.uint8)
    points = np.array([[10, 1, 0.5, 0]], dtype=np.float32)  # column 40, row 15
    picture = camera_overlay(image, PROJECTION, points, np.array([9]), np.array([1]), spec)
    colours = display_colours(spec)
    panel_height = 40 + TITLE_HEIGHT + GAP
    for i, label in enumerate((9, 1)):
        pixel = picture.getpixel((GAP + 40, GAP + TITLE_HEIGHT + i * panel_height + 15))
        assert near(pixel, colours[label])


def test_scans_without_points_have_pictures(spec: DatasetSpec) -> None:
    points, labels = np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.int64)
    birds_eye(points, labels, labels, spec, size=50)
    camera_overlay(np.zeros((4, 5, 3), dtype=np.uint8), PROJECTION, points, labels, labels, spec)


def test_every_class_stands_out_from_the_background(spec: DatasetSpec) -> None:
    assert display_colours(spec)[1:].max(axis=1).min() >= 119


def test_confusion_picture(spec: DatasetSpec, tmp_path: Path) -> None:
    path = tmp_path / "pictures" / "confusion.png"
    confusion_picture(np.diag(np.arange(20)), spec.names, path)
    confusion_picture(np.zeros((20, 20), dtype=np.int64), spec.names, tmp_path / "empty.png")
    assert Image.open(path).height > 300
