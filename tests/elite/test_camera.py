"""The camera side of a batch: which pixel shows a point, through crop, mirror and augmentation."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elite.data import (
    AugmentationConfig,
    CameraConfig,
    DatasetSpec,
    EpochSampler,
    PseudoLabelManifest,
    SemanticKitti,
    TrainingScans,
    augment,
    collate,
    crop_camera,
    project_scan,
    training_loader,
)
from elite.errors import EliteError
from elite.types import Scan

PLAIN = CameraConfig(height=20, width=40, colour_jitter=0, flip=0)
# x forward, y left, z up; focal length 20 pixels; the optical axis in the middle of 30 x 60 pixels
PROJECTION = np.array([[30, -20, 0, 0], [15, 0, -20, 0], [1, 0, 0, 0]], dtype=np.float32)


@pytest.fixture
def scan() -> Scan:
    """The image says in red and green which row and column a pixel is in, the labels in one."""
    rng = np.random.default_rng(0)
    points = rng.uniform([-20, -20, -9, 0], [20, 20, 9, 1], size=(2000, 4)).astype(np.float32)
    row, column = np.mgrid[:30, :60]
    image = np.stack([row, column, np.full_like(row, 100)], axis=2).astype(np.uint8)
    return Scan(
        points,
        "00/000000",
        labels=np.arange(2000),
        instances=np.zeros(2000, np.int64),
        image=image,
        projection=PROJECTION,
        pseudo_labels=row * 100 + column,
    )


def expected_pixels(points: np.ndarray, size: tuple[int, int] = (30, 60)) -> np.ndarray:
    """The rule, one point at a time in Python's floats."""
    pixels = []
    for x, y, z in points[:, :3].tolist():
        a, b, d = (PROJECTION.astype(float) @ [x, y, z, 1]).tolist()
        seen = x > 0 and d > 0 and 0 < a / d < size[1] and 0 < b / d < size[0]
        pixels.append((int(b / d), int(a / d)) if seen else (-1, -1))
    return np.array(pixels)


def test_a_point_has_a_pixel_when_it_is_ahead_and_in_the_image(scan: Scan) -> None:
    pixel = project_scan(scan).pixel
    np.testing.assert_array_equal(pixel, expected_pixels(scan.points))
    assert 200 < (pixel[:, 0] >= 0).sum() < 1000


def test_projection_needs_an_image(scan: Scan) -> None:
    with pytest.raises(ValueError, match="00/000000 must have an image and its projection"):
        project_scan(replace(scan, image=None))


@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_pixels_and_pseudo_labels_follow_the_crop(scan: Scan, flip: int, seed: int) -> None:
    crop = crop_camera(scan, replace(PLAIN, flip=flip), np.random.default_rng(seed))
    assert crop.image.shape == (20, 40, 3)
    assert crop.image[0, 0, 0] == 10  # the bottom 20 of 30 rows
    columns = crop.image[0, :, 1].astype(int)
    assert set(np.diff(columns)) == {-1 if flip else 1}
    row, column = crop.image[..., :2].astype(int).transpose(2, 0, 1)
    np.testing.assert_array_equal(crop.pseudo_labels, row * 100 + column)
    before, seen = expected_pixels(scan.points), crop.pixel[:, 0] >= 0
    shown = crop.image[crop.pixel[seen, 0], crop.pixel[seen, 1], :2]
    np.testing.assert_array_equal(shown, before[seen])
    left, right = columns.min(), columns.max()
    in_crop = (before[:, 0] >= 10) & (before[:, 1] >= left) & (before[:, 1] <= right)
    np.testing.assert_array_equal(seen, in_crop)


def test_points_are_not_mirrored_and_the_scan_given_is_left_alone(scan: Scan) -> None:
    before = replace(scan, points=scan.points.copy(), image=scan.image.copy())
    crop = crop_camera(scan, CameraConfig(20, 40, flip=1), np.random.default_rng(0))
    np.testing.assert_array_equal(crop.points, before.points)
    np.testing.assert_array_equal(scan.image, before.image)
    assert scan.pixel is None


def test_left_edges_reach_from_end_to_end(scan: Scan) -> None:
    crops = [crop_camera(scan, PLAIN, np.random.default_rng(seed)) for seed in range(200)]
    assert {int(crop.image[0, 0, 1]) for crop in crops} == set(range(21))


def test_half_of_the_crops_are_mirrored(scan: Scan) -> None:
    config = replace(PLAIN, flip=0.5)
    crops = [crop_camera(scan, config, np.random.default_rng(seed)) for seed in range(200)]
    assert 70 < sum(crop.image[0, 0, 1] > crop.image[0, 1, 1] for crop in crops) < 130


@pytest.mark.parametrize("flip", [0, 1])
def test_a_small_image_is_padded_with_zeros(scan: Scan, flip: int) -> None:
    config = CameraConfig(40, 64, colour_jitter=0, flip=flip)
    crop = crop_camera(scan, config, np.random.default_rng(0))
    assert crop.image.shape == (40, 64, 3)
    assert crop.pseudo_labels.shape == (40, 64)
    assert not crop.image[30:].any()
    assert not crop.image[:, 60:].any()
    assert not crop.pseudo_labels[30:].any()
    seen = crop.pixel[:, 0] >= 0
    np.testing.assert_array_equal(seen, expected_pixels(scan.points)[:, 0] >= 0)
    shown = crop.image[crop.pixel[seen, 0], crop.pixel[seen, 1], :2]
    np.testing.assert_array_equal(shown, expected_pixels(scan.points)[seen])


def test_a_crop_without_points_is_left_out(scan: Scan) -> None:
    behind = replace(scan, points=scan.points * np.array([-1, 1, 1, 1], np.float32))
    ahead = crop_camera(scan, PLAIN, np.random.default_rng(0)).pixel[:, 0] >= 0
    hidden = replace(behind, points=behind.points[ahead], labels=scan.labels[ahead])
    crop = crop_camera(hidden, PLAIN, np.random.default_rng(0))
    assert crop.image is crop.pixel is crop.pseudo_labels is crop.projection is None
    np.testing.assert_array_equal(crop.points, hidden.points)
    assert collate([crop]).camera is None


def test_colours_change_by_up_to_the_strength(scan: Scan) -> None:
    scan.image[:] = 100  # grey: contrast and saturation change nothing
    config = replace(PLAIN, colour_jitter=0.4)
    values = [
        int(crop_camera(scan, config, np.random.default_rng(seed)).image[0, 0, 0])
        for seed in range(200)
    ]
    assert 60 <= min(values) < 65
    assert 135 < max(values) <= 140
    colourful = replace(scan, image=np.zeros_like(scan.image) + np.array([200, 50, 50], np.uint8))
    spread = [
        int(np.ptp(crop_camera(colourful, config, np.random.default_rng(seed)).image[0, 0]))
        for seed in range(100)
    ]
    assert min(spread) < 100
    assert max(spread) > 170


def test_pixels_survive_rotation_and_dropout(scan: Scan) -> None:
    """A point keeps its pixel though the augmentation turns it behind the sensor."""
    crop = crop_camera(scan, PLAIN, np.random.default_rng(1))
    after = augment(crop, AugmentationConfig(), np.random.default_rng(2))
    kept = after.labels  # the labels of this scan number its points
    assert len(kept) < 2000
    np.testing.assert_array_equal(after.pixel, crop.pixel[kept])
    assert (after.points[after.pixel[:, 0] >= 0, 0] < 0).any()


def test_a_batch_of_cameras(scan: Scan) -> None:
    crops = [crop_camera(scan, PLAIN, np.random.default_rng(seed)) for seed in (1, 2)]
    blind = Scan(scan.points[:7], "blind", labels=scan.labels[:7])
    batch = collate([crops[0], blind, crops[1]])
    camera = batch.camera
    assert camera.images.shape == (2, 3, 20, 40)
    assert camera.images.dtype == torch.uint8
    assert camera.image_size == (20, 40)
    assert set(camera.image_index.tolist()) == {0, 1}
    assert camera.pixel.dtype == torch.int32
    assert camera.point_index.dtype == camera.image_index.dtype == torch.int64
    assert torch.equal(batch.batch_index[camera.point_index], 2 * camera.image_index)
    # the points that are named are those that the image was asked for
    original = expected_pixels(scan.points)[batch.labels[camera.point_index].numpy()]
    row, column = camera.pixel.long().T
    shown = camera.images[camera.image_index, :2, row, column]
    np.testing.assert_array_equal(shown.numpy(), original)
    assert camera.pseudo_labels.shape == (2, 20, 40)
    moved = batch.to("cpu")
    assert torch.equal(moved.camera.point_index, camera.point_index)
    assert moved.names == batch.names


def test_what_does_not_fit_into_a_batch(scan: Scan) -> None:
    crop = crop_camera(scan, PLAIN, np.random.default_rng(0))
    other = crop_camera(scan, replace(PLAIN, width=30), np.random.default_rng(0))
    with pytest.raises(ValueError, match="must be of one size"):
        collate([crop, other])
    with pytest.raises(ValueError, match="1 of 2 images have pseudo-labels"):
        collate([crop, replace(crop, pseudo_labels=None)])
    assert collate([replace(crop, image=None)]).camera is None


# ---- from disk -----------------------------------------------------------------------------------


def write_images(root: Path, frames: range = range(3)) -> None:
    for frame in frames:
        folder = root / "sequences/00"
        pixels = np.random.default_rng(frame).integers(0, 256, (376, 1300, 3), dtype=np.uint8)
        (folder / "image_2").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"image_2/{frame:06d}.png")
        labels = np.full((376, 1300), 10 if frame else 252, np.uint16)
        (folder / "pseudo_labels/semantic").mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(folder / f"pseudo_labels/semantic/{frame:06d}.png")


def test_pseudo_labels_are_read_as_learning_ids(dataset: Path, spec: DatasetSpec) -> None:
    write_images(dataset)
    manifest = PseudoLabelManifest(1, spec.name, "train", ("00",), (), {}, {})
    (dataset / "manifest.json").write_text(manifest.dumps())
    scans = SemanticKitti([dataset], "train", spec, images=True, pseudo_labels=dataset)
    assert scans[0].pseudo_labels.shape == (376, 1300)
    assert (scans[0].pseudo_labels == 1).all()
    path = dataset / "sequences/00/pseudo_labels/semantic/000001.png"
    Image.fromarray(np.full((30, 1299), 10, np.uint16)).save(path)
    with pytest.raises(EliteError, match=r"000001\.png: must be \(376, 1300\) pixels, got"):
        scans[1]
    Image.fromarray(np.full((376, 1300), 17, np.uint16)).save(path)
    with pytest.raises(EliteError, match="raw id 17 belongs to no class"):
        scans[1]
    path.unlink()
    with pytest.raises(EliteError, match="no such file\n`elite pseudolabel`"):
        scans[1]


def test_images_may_be_optional(dataset: Path, spec: DatasetSpec) -> None:
    write_images(dataset, range(1, 2))
    scans = SemanticKitti([dataset], "train", spec, images=True, require_images=False)
    assert scans[0].image is None
    assert scans[1].image is not None
    with pytest.raises(EliteError, match=r"000000\.png: no such image"):
        SemanticKitti([dataset], "train", spec, images=True)[0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_cameras_are_seeded_and_leave_the_points_alone(
    dataset: Path, spec: DatasetSpec, num_workers: int
) -> None:
    write_images(dataset)

    def batches(camera: CameraConfig | None, start: int = 0, workers: int = 0) -> list:
        scans = SemanticKitti([dataset], "train", spec, images=camera is not None)
        sampler = EpochSampler(len(scans), seed=0)
        sampler.start = start
        training = TrainingScans(scans, AugmentationConfig(), seed=0, camera=camera)
        return list(training_loader(training, sampler, 1, workers))

    config = CameraConfig(height=320, width=1200)
    alone, first = batches(None), batches(config)
    again = batches(config, start=1, workers=num_workers)
    for without, batch in zip(alone, first, strict=True):
        assert without.camera is None
        assert torch.equal(without.points, batch.points)
    for got, want in zip(again, first[1:], strict=True):
        assert torch.equal(got.camera.images, want.camera.images)
        assert torch.equal(got.camera.pixel, want.camera.pixel)


def test_real_points_lie_on_real_images(data_folder: Path, spec: DatasetSpec) -> None:
    scans = SemanticKitti([data_folder / "kitti"], "90", spec, images=True)
    crop = crop_camera(scans[0], CameraConfig(), np.random.default_rng(0))
    assert crop.image.shape == (320, 1024, 3)
    assert 10_000 < (crop.pixel[:, 0] >= 0).sum() < 25_000
