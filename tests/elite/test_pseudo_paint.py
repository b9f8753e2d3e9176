"""Painting: from the worst mask to the best, majorities of labelled pixels only."""

import numpy as np

from elite.pseudo_label.masks import Masks
from elite.pseudo_label.paint import paint
from elite.pseudo_label.scatter import ImageLabels

SHAPE = (12, 16)


def masks_of(*boxes: tuple[int, int, int, int], scores: list[float]) -> Masks:
    """Rectangles x1 y1 x2 y2."""
    dense = np.zeros((len(boxes), *SHAPE), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(dense, boxes, strict=True):
        mask[y1:y2, x1:x2] = True
    return Masks.from_dense(dense, np.array(scores, dtype=np.float32))


def sparse_of(cells: dict[tuple[int, int], tuple[int, int]]) -> ImageLabels:
    labels, instances = np.zeros(SHAPE, dtype=np.int64), np.zeros(SHAPE, dtype=np.int64)
    for cell, (label, instance) in cells.items():
        labels[cell], instances[cell] = label, instance
    return ImageLabels(labels, instances)


def test_the_best_mask_comes_out_on_top() -> None:
    sparse = sparse_of({(2, 2): (9, 0), (6, 6): (1, 300), (0, 15): (5, 0)})
    masks = masks_of((5, 5, 8, 8), (0, 0, 10, 10), scores=[0.9, 0.95])
    dense, painted = paint(masks, sparse)
    # the better mask is large and has one vote each: the smaller id
    assert dense.labels[6, 6] == 1
    assert (dense.labels[:10, :10] == 1).all()
    assert (dense.instances[:10, :10] == 300).all()
    assert dense.labels[0, 15] == 5  # under no mask: its own label
    assert painted.sum() == 100
    assert dense.labels[11, 11] == 0
    swapped, _ = paint(masks_of((5, 5, 8, 8), (0, 0, 10, 10), scores=[0.95, 0.9]), sparse)
    assert swapped.labels[6, 6] == 1
    assert swapped.labels[2, 2] == 1


def test_unlabelled_pixels_have_no_vote() -> None:
    dense, _ = paint(masks_of((0, 0, 16, 12), scores=[1]), sparse_of({(3, 3): (7, 0)}))
    assert (dense.labels == 7).all()


def test_a_mask_of_mostly_unlabelled_points_may_be_left_out() -> None:
    sparse = sparse_of({(3, 3): (7, 0), (3, 4): (7, 0)})
    masks = masks_of((0, 0, 16, 12), (2, 2, 6, 6), scores=[0.5, 1])
    # one of them shows a labelled point, too, which counts
    unlabelled = np.array([(9, 9), (9, 10), (9, 11), (3, 3), (5, 5)])
    for least, painted in ((0.0, 16 * 12), (1 / 3, 16 * 12), (0.5, 16), (2 / 3, 16), (0.7, 0)):
        assert paint(masks, sparse, unlabelled, least)[1].sum() == painted


def test_a_mask_without_votes_paints_nothing() -> None:
    masks = masks_of((0, 0, 16, 12), (4, 4, 8, 8), scores=[0.5, 1])
    dense, painted = paint(masks, sparse_of({(0, 0): (9, 0)}))
    assert (dense.labels == 9).all()
    assert painted.all()


def test_the_instance_is_of_the_winning_class() -> None:
    cells = {(0, i): (9, 0) for i in range(3)} | {(1, i): (1, 40 + i % 2) for i in range(5)}
    dense, _ = paint(masks_of((0, 0, 16, 12), scores=[1]), sparse_of(cells))
    assert (dense.labels[5, 5], dense.instances[5, 5]) == (1, 40)


def test_equals_a_loop_over_pixels() -> None:
    rng = np.random.default_rng(0)
    dense_masks = np.zeros((30, *SHAPE), dtype=bool)
    for mask in dense_masks:
        y, x = rng.integers(0, 10), rng.integers(0, 14)
        mask[y : y + rng.integers(1, 8), x : x + rng.integers(1, 9)] = True
        mask &= rng.random(SHAPE) < 0.8
        mask[y, x] = True
    scores = rng.integers(0, 8, 30).astype(np.float32)  # with ties
    labels = rng.integers(1, 5, SHAPE) * (rng.random(SHAPE) < 0.2)
    sparse = ImageLabels(labels, labels * rng.integers(0, 3, SHAPE) * 200)
    dense, painted = paint(Masks.from_dense(dense_masks, scores), sparse)
    for row in range(SHAPE[0]):
        for col in range(SHAPE[1]):
            covering = [k for k in range(30) if dense_masks[k, row, col]]
            voting = [k for k in covering if labels[dense_masks[k]].any()]
            assert painted[row, col] == bool(voting)
            expected = labels[row, col], sparse.instances[row, col]
            if voting:
                best = min(voting, key=lambda k: (-scores[k], k))
                votes = [v for v in labels[dense_masks[best]].tolist() if v]
                label = min(set(votes), key=lambda v: (-votes.count(v), v))
                same = dense_masks[best] & (labels == label)
                ids = sparse.instances[same].tolist()
                expected = label, min(set(ids), key=lambda v: (-ids.count(v), v))
            assert (dense.labels[row, col], dense.instances[row, col]) == expected


def test_without_masks_the_sparse_labels_remain() -> None:
    sparse = sparse_of({(3, 3): (7, 2)})
    dense, painted = paint(Masks.concatenate([]), sparse)
    np.testing.assert_array_equal(dense.labels, sparse.labels)
    np.testing.assert_array_equal(dense.instances, sparse.instances)
    assert not painted.any()
