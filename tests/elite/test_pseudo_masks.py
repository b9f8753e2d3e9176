"""Masks and their filters, against segment_anything's own functions where it has them."""

import numpy as np
import pytest
import torch

from elite.pseudo_label.masks import Masks, stability, suppress, touches_crop_edge
from elite.pseudo_label.prompts import Crop
from elite.pseudo_label.sam import crops_of, resized_size
from elite.teacher import import_segment_anything

IMAGE = (376, 1241)
WHOLE = Crop(0, 0, 1241, 376)


@pytest.fixture(scope="module")
def amg():
    """The functions of SAM's automatic mask generator."""
    return import_segment_anything().utils.amg


def random_masks(rng: np.random.Generator, count: int, shape: tuple[int, int]) -> np.ndarray:
    dense = rng.random((count, *shape)) < 0.02
    dense[np.arange(count), rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)] = (
        True
    )
    return dense


def test_bits_give_the_masks_back() -> None:
    rng = np.random.default_rng(0)
    dense = random_masks(rng, 20, (13, 17))
    dense[0], dense[1] = False, True
    dense[0, 12, 16] = True
    masks = Masks.from_dense(dense, rng.random(20).astype(np.float32), offset=(100, 50))
    assert len(masks) == 20
    np.testing.assert_array_equal(masks.boxes[:2], [[116, 62, 117, 63], [100, 50, 117, 63]])
    for row, expected in enumerate(dense):
        canvas = np.zeros((70, 120), dtype=bool)
        box, inside = masks.region(row)
        assert inside[0].any() or inside.shape[0] == 1
        canvas[box][inside] = True
        np.testing.assert_array_equal(canvas[50:63, 100:117], expected)
        assert canvas.sum() == expected.sum()


def test_no_masks() -> None:
    none = Masks.from_dense(np.zeros((0, 5, 5), dtype=bool), np.zeros(0, dtype=np.float32))
    assert len(Masks.concatenate([none, none])) == len(suppress(none, 0.7)) == 0


def test_stability_is_that_of_segment_anything(amg) -> None:
    logits = 2 * torch.randn(30, 40, 50, generator=torch.manual_seed(0))
    logits[0] = -5  # empty at both cuts
    expected = amg.calculate_stability_score(logits, 0.0, 1.0)
    torch.testing.assert_close(stability(logits, 1.0), expected, equal_nan=True)
    assert not stability(logits, 1.0)[0] >= 0.9


@pytest.mark.parametrize("crop", [WHOLE, Crop(400, 0, 500, 376), Crop(0, 100, 700, 276)])
def test_edges_are_those_of_segment_anything(amg, crop: Crop) -> None:
    rng = np.random.default_rng(0)
    x = np.sort(rng.integers(0, crop.width + 1, (500, 2)), axis=1)
    y = np.sort(rng.integers(0, crop.height + 1, (500, 2)), axis=1)
    local = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)
    corners = [crop.left, crop.top, crop.left + crop.width, crop.top + crop.height]
    expected = amg.is_box_near_crop_edge(
        torch.from_numpy(local), corners, [0, 0, IMAGE[1], IMAGE[0]]
    )
    found = touches_crop_edge(local + np.array([crop.left, crop.top] * 2), crop, IMAGE)
    np.testing.assert_array_equal(found, expected.numpy())
    assert found.any() != (crop == WHOLE)  # the image's own edges don't count


def test_of_overlapping_boxes_the_better_is_kept() -> None:
    dense = np.zeros((3, 30, 30), dtype=bool)
    dense[0, 2:12, 2:12] = dense[1, 2:12, 2:13] = dense[2, 20:25, 20:25] = True
    kept = suppress(Masks.from_dense(dense, np.array([0.8, 0.9, 0.5], dtype=np.float32)), 0.7)
    np.testing.assert_allclose(kept.scores, [0.9, 0.5])
    np.testing.assert_array_equal(kept.boxes[0], [2, 2, 13, 12])


@pytest.mark.parametrize(("size", "count"), [(IMAGE, 1), (IMAGE, 3), ((1200, 400), 2), ((9, 9), 1)])
def test_crops_cover_the_image_and_overlap(size: tuple[int, int], count: int) -> None:
    crops = crops_of(size, count)
    seen = np.zeros(size, dtype=int)
    for crop in crops:
        seen[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width] += 1
    assert len(crops) == count
    assert seen.min() == 1
    assert seen.sum() == sum(crop.width * crop.height for crop in crops)
    assert (seen > 1).any() == (count > 1)


@pytest.mark.parametrize("crop", [WHOLE, Crop(0, 0, 376, 1241), Crop(0, 0, 1920, 1200)])
def test_the_resized_size_is_segment_anythings(crop: Crop) -> None:
    transforms = import_segment_anything().utils.transforms
    expected = transforms.ResizeLongestSide.get_preprocess_shape(crop.height, crop.width, 1024)
    assert resized_size(crop) == expected
