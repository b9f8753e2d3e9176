"""One label for every point, also outside the range."""

import torch

from elite.engine.point_labels import point_labels


def test_class_zero_is_never_predicted() -> None:
    logits = torch.zeros(3, 20)
    logits[:, 0] = 100
    logits[1, 7] = 1
    points = torch.zeros(3, 4)
    labels = point_labels(
        logits, torch.ones(3, dtype=torch.bool), points, torch.zeros(3, dtype=torch.int64)
    )
    assert labels.tolist() == [1, 7, 1]


def test_points_outside_take_the_nearest_label_of_their_own_scan() -> None:
    points = torch.tensor(
        [[49.0, 0, 0, 0], [-49, 0, 0, 0], [60, 0, 0, 0], [55, 0, 0, 0], [0, 0, 0, 0]]
    )
    batch_index = torch.tensor([0, 0, 0, 1, 1])
    valid = torch.tensor([True, True, False, False, True])
    logits = torch.zeros(5, 20)
    for row, label in ((0, 3), (1, 4), (4, 9)):
        logits[row, label] = 1
    assert point_labels(logits, valid, points, batch_index).tolist() == [3, 4, 3, 9, 9]


def test_a_scan_that_is_wholly_outside_is_unlabelled() -> None:
    points = torch.full((2, 4), 100.0)
    valid = torch.zeros(2, dtype=torch.bool)
    index = torch.zeros(2, dtype=torch.int64)
    assert point_labels(torch.zeros(2, 20), valid, points, index).tolist() == [0, 0]


def test_an_empty_scan() -> None:
    empty = torch.zeros(0, dtype=torch.int64)
    labels = point_labels(torch.zeros(0, 20), empty.bool(), torch.zeros(0, 4), empty)
    assert labels.shape == (0,)
