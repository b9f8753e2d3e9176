"""Segment Anything as it is prompted here, against its own forward pass."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elite.errors import EliteError
from elite.pseudo_label.config import SamMaskConfig
from elite.pseudo_label.prompts import Crop, Prompts, low_resolution_labels, make_prompts
from elite.pseudo_label.sam import SamSegmenter, upscale
from elite.pseudo_label.scatter import ProjectedPoints
from elite.teacher import build_sam

SIZE = (50, 166)  # the shape of a camera image, in small
WHOLE = Crop(0, 0, SIZE[1], SIZE[0])


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def points() -> ProjectedPoints:
    rng = np.random.default_rng(1)
    pixel = np.stack([rng.integers(0, n, 9) for n in SIZE], axis=1)
    return ProjectedPoints(
        pixel=pixel,
        depth=rng.uniform(5, 50, 9).astype(np.float32),
        labels=np.array([9, 9, 9, 9, 1, 1, 1, 15, 15]),
        instances=np.array([0, 0, 0, 0, 3, 3, 260, 0, 0]),
        unlabelled_pixel=np.zeros((0, 2), dtype=np.int64),
        image_size=SIZE,
        num_projected=9,
        num_hidden=0,
    )


def config(**values) -> SamMaskConfig:
    return SamMaskConfig(**{"size": "test", "random_weights": True, "batch_size": 4, **values})


@pytest.fixture(scope="module")
def everything(image: np.ndarray, points: ProjectedPoints):
    """The masks of every prompt by SAM's own forward pass: logits [K, H, W], predicted IoU [K]."""
    sam = SamSegmenter(config(), torch.device("cpu"))._sam
    prompts = make_prompts(low_resolution_labels(points, WHOLE))
    resized = Image.fromarray(image).resize((1024, 308), Image.Resampling.BILINEAR)
    request = {
        "image": torch.from_numpy(np.array(resized)).permute(2, 0, 1).float(),
        "original_size": SIZE,
        "point_coords": torch.from_numpy(prompts.points)[:, None],
        "point_labels": torch.ones(len(prompts.points), 1),
        "mask_inputs": torch.from_numpy(prompts.masks[prompts.segment])[:, None],
    }
    low = sam([request], multimask_output=True)[0]
    logits = sam.postprocess_masks(low["low_res_logits"], (308, 1024), SIZE)
    return logits.flatten(0, 1), low["iou_predictions"].flatten()


def decode_all(segmenter: SamSegmenter, image: np.ndarray, prompts: Prompts):
    embedding = segmenter._embed(image, WHOLE)
    step = segmenter.config.batch_size
    parts = [
        segmenter._decode(embedding, prompts, slice(start, start + step))
        for start in range(0, len(prompts.points), step)
    ]
    return upscale(torch.cat([p[0] for p in parts]), WHOLE), torch.cat([p[1] for p in parts])


@torch.no_grad()
def test_batches_give_what_its_forward_pass_gives(everything, image, points) -> None:
    segmenter = SamSegmenter(config(), torch.device("cpu"))
    prompts = make_prompts(low_resolution_labels(points, WHOLE))
    logits, scores = decode_all(segmenter, image, prompts)
    assert logits.shape == (3 * len(prompts.points), *SIZE)
    torch.testing.assert_close(logits, everything[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores, everything[1], rtol=1e-4, atol=1e-5)


def test_the_stable_and_the_best_are_kept(everything, image, points) -> None:
    logits, scores = everything
    inner, outer = (logits > 0.002).sum((1, 2)), (logits > -0.002).sum((1, 2))
    stable = (inner / outer >= 0.9) & (logits > 0).any(2).any(1)
    assert 0 < stable.sum() < len(stable)  # the offset fits the small logits of random weights
    segmenter = SamSegmenter(config(stability_offset=0.002, nms_threshold=1.0), torch.device("cpu"))
    masks = segmenter.segment(image, points)
    assert len(masks) == int(stable.sum())
    order = torch.sort(scores[stable], descending=True, stable=True).indices
    np.testing.assert_allclose(masks.scores, scores[stable][order], rtol=1e-4)
    expected = (logits[stable][order] > 0).sum((1, 2)).tolist()
    areas = [int(masks.region(row)[1].sum()) for row in range(len(masks))]
    assert np.abs(np.array(areas) - expected).max() <= 2  # a logit may be as good as 0
    fewer = SamSegmenter(config(stability_offset=0.002), torch.device("cpu"))
    assert 0 < len(fewer.segment(image, points)) < len(masks)


def test_upscale_leaves_out_padding_only(image) -> None:
    sam = build_sam("test")
    logits = torch.randn(2, 256, 256, generator=torch.manual_seed(0))
    for crop, resized in (
        (WHOLE, (308, 1024)),
        (Crop(0, 0, 50, 166), (1024, 308)),
        (Crop(3, 4, 60, 60), (1024, 1024)),
    ):
        expected = sam.postprocess_masks(logits[:, None], resized, (crop.height, crop.width))
        torch.testing.assert_close(upscale(logits, crop), expected[:, 0], rtol=0, atol=1e-5)


def test_crops_see_their_part_of_the_image(image, points) -> None:
    segmenter = SamSegmenter(config(crops=2, stability_offset=0.0), torch.device("cpu"))
    masks = segmenter.segment(image, points)
    assert (masks.boxes >= 0).all()
    assert (masks.boxes <= (SIZE[1], SIZE[0]) * 2).all()


def test_nothing_labelled_asks_for_nothing(image, points) -> None:
    empty = ProjectedPoints(
        **{**vars(points), **{k: getattr(points, k)[:0] for k in ("pixel", "depth", "labels")}}
        | {"instances": points.instances[:0]}
    )
    assert len(SamSegmenter(config(), torch.device("cpu")).segment(image, empty)) == 0


def test_random_weights_are_chosen_explicitly_and_alike() -> None:
    with pytest.raises(EliteError, match=r"needs a checkpoint\nName one .* superpixels"):
        SamSegmenter(SamMaskConfig(size="test"), torch.device("cpu"))
    first, second = (SamSegmenter(config(), torch.device("cpu"))._sam for _ in range(2))
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_an_official_checkpoint_is_loaded_and_hashed(tmp_path: Path, image, points) -> None:
    path = tmp_path / "sam.pth"
    torch.manual_seed(7)
    sam = build_sam("test")
    torch.save(sam.state_dict(), path)
    loaded = SamSegmenter(SamMaskConfig(size="test", checkpoint=str(path)), torch.device("cpu"))
    for key, value in sam.state_dict().items():
        torch.testing.assert_close(loaded._sam.state_dict()[key], value, rtol=0, atol=0)
    assert len(loaded.describe()["weights"]) == 64
    random = SamSegmenter(config(), torch.device("cpu")).describe()
    assert random == {"name": "segment-anything test", "weights": "random"}
    del sam.mask_decoder.iou_token
    torch.save(sam.state_dict(), path)
    with pytest.raises(EliteError, match=r"missing: mask_decoder\.iou_token\.weight"):
        SamSegmenter(SamMaskConfig(size="test", checkpoint=str(path)), torch.device("cpu"))
