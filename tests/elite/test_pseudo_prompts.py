"""Prompts: one for every labelled cell, with a mask that knows its class and instance."""

import numpy as np
import pytest

from elite.pseudo_label.prompts import LOW_RESOLUTION, make_prompts
from elite.pseudo_label.scatter import ImageLabels

SHAPE = (LOW_RESOLUTION, LOW_RESOLUTION)


def image_labels(cells: dict[tuple[int, int], tuple[int, int]]) -> ImageLabels:
    """(row, column) -> (label, instance)."""
    labels, instances = np.zeros(SHAPE, dtype=np.int64), np.zeros(SHAPE, dtype=np.int64)
    for cell, (label, instance) in cells.items():
        labels[cell], instances[cell] = label, instance
    return ImageLabels(labels, instances)


ROAD, CAR = 9, 1
# Two cars whose ids are equal in their lowest 8 bits, a car without an id, and the road.
CELLS = {
    (10, 20): (CAR, 3),
    (11, 20): (CAR, 259),
    (12, 20): (CAR, 0),
    (50, 60): (ROAD, 0),
    (51, 255): (ROAD, 0),
}


def test_every_labelled_cell_is_a_point_at_its_centre() -> None:
    prompts = make_prompts(image_labels(CELLS))
    points = {tuple(point) for point in prompts.points.tolist()}
    assert points == {(4 * col + 1.5, 4 * row + 1.5) for row, col in CELLS}
    assert prompts.masks.shape == (4, *SHAPE)
    assert (np.diff(prompts.segment) >= 0).all()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        # by its instance alone: other cars neither attract nor repel
        ((10, 20), {(10, 20): 16, (50, 60): -16, (51, 255): -16}),
        ((11, 20), {(11, 20): 16, (50, 60): -16, (51, 255): -16}),
        # without an instance: by the class
        ((12, 20), {(10, 20): 1, (11, 20): 1, (12, 20): 1, (50, 60): -16, (51, 255): -16}),
        ((50, 60), {(10, 20): -16, (11, 20): -16, (12, 20): -16, (50, 60): 1, (51, 255): 1}),
    ],
)
def test_mask_prompts(cell: tuple[int, int], expected: dict[tuple[int, int], float]) -> None:
    prompts = make_prompts(image_labels(CELLS))
    row = int(np.flatnonzero((prompts.points == (4 * cell[1] + 1.5, 4 * cell[0] + 1.5)).all(1))[0])
    mask = np.zeros(SHAPE, dtype=np.float32)
    for at, value in expected.items():
        mask[at] = value
    np.testing.assert_array_equal(prompts.masks[prompts.segment[row]], mask)


def test_at_most_so_many_prompts_a_segment() -> None:
    labels = np.zeros(SHAPE, dtype=np.int64)
    labels[100, :] = ROAD
    labels[120, :3] = CAR
    sparse = ImageLabels(labels, np.zeros_like(labels))
    prompts = make_prompts(sparse, max_per_segment=8)
    np.testing.assert_array_equal(np.bincount(prompts.segment), [3, 8])
    columns = (prompts.points[prompts.segment == 1, 0] - 1.5) / 4
    assert set(np.diff(np.sort(columns))) == {32.0}
    assert len(make_prompts(sparse, max_per_segment=1000).points) == 259


def test_nothing_labelled_prompts_nothing() -> None:
    for most in (None, 5):
        prompts = make_prompts(image_labels({}), most)
        assert prompts.points.shape == (0, 2)
        assert prompts.masks.shape == (0, *SHAPE)
