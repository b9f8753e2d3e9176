"""Scores against matrices that are small enough to count by hand."""

import numpy as np
import pytest
import torch

from elite.metrics import ConfusionMatrix, scores

NAMES = ["unlabeled", "car", "road", "tree"]


def test_a_matrix_by_hand() -> None:
    matrix = np.array(
        [
            [9, 9, 9, 9],  # unlabelled in the truth: left out
            [0, 6, 2, 0],
            [0, 1, 8, 1],
            [0, 0, 0, 0],  # no tree in the truth
        ]
    )
    result = scores(matrix, NAMES)
    car, road, tree = result.classes
    assert car.iou == pytest.approx(6 / 9)
    assert (car.precision, car.recall) == (pytest.approx(6 / 7), pytest.approx(6 / 8))
    assert road.iou == pytest.approx(8 / 12)
    assert (tree.iou, tree.recall, tree.points, tree.predicted) == (None, None, 0, 1)
    assert result.absent == ["tree"]
    assert result.miou_present == pytest.approx((6 / 9 + 8 / 12) / 2)
    assert result.miou == pytest.approx((6 / 9 + 8 / 12) / 3)
    assert result.accuracy == pytest.approx(14 / 18)
    assert result.num_points == 18


def test_predicting_unlabelled_on_a_labelled_point_is_a_miss() -> None:
    matrix = np.zeros((4, 4), dtype=np.int64)
    matrix[1] = [4, 6, 0, 0]
    result = scores(matrix, NAMES)
    assert result.classes[0].iou == pytest.approx(0.6)
    assert result.accuracy == pytest.approx(0.6)


def test_predictions_on_unlabelled_points_cost_nothing() -> None:
    matrix = np.zeros((4, 4), dtype=np.int64)
    matrix[0] = [0, 100, 100, 100]
    matrix[1, 1] = 5
    assert scores(matrix, NAMES).classes[0].iou == 1.0


def test_nothing_labelled() -> None:
    result = scores(np.zeros((4, 4), dtype=np.int64), NAMES)
    assert (result.miou, result.miou_present, result.accuracy) == (0.0, 0.0, 0.0)
    assert len(result.absent) == 3


def test_the_matrix_adds_up_over_scans() -> None:
    """Against a count in plain Python."""
    rng = np.random.default_rng(0)
    matrix = ConfusionMatrix(4)
    expected = np.zeros((4, 4), dtype=np.int64)
    for size in (0, 1, 500):
        prediction, target = rng.integers(0, 4, size=(2, size))
        matrix.update(torch.from_numpy(prediction), torch.from_numpy(target))
        for p, t in zip(prediction, target, strict=True):
            expected[t, p] += 1
    assert matrix.counts.tolist() == expected.tolist()
