"""The reader, the batches and the order in which a training sees them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elite.data import (
    AugmentationConfig,
    DatasetSpec,
    EpochSampler,
    SemanticKitti,
    TrainingScans,
    collate,
    training_loader,
    validation_loader,
)
from elite.errors import EliteError
from elite.types import Scan


def test_a_split_in_order(dataset: Path, spec: DatasetSpec) -> None:
    scans = SemanticKitti([dataset], "train", spec)
    assert [scan.name for scan in scans] == ["00/000000", "00/000001", "00/000002"]
    assert len(SemanticKitti([dataset, dataset], "val", spec)) == 4
    scan = scans[1]
    assert scan.points.shape == (600, 4)
    assert set(scan.labels.tolist()) == {0, 9, 13, 15}
    assert scan.instances.tolist() == [i % 7 for i in range(600)]
    assert scan.image is None
    assert scan.projection is None


def test_only_what_is_asked_for_is_read(dataset: Path, spec: DatasetSpec) -> None:
    (dataset / "sequences/08/labels/000003.label").unlink()
    (dataset / "sequences/08/calib.txt").unlink()
    assert SemanticKitti([dataset], "val", spec, labels=False)[0].labels is None
    with pytest.raises(EliteError, match=r"000003\.label: no such file"):
        SemanticKitti([dataset], "val", spec)[0]


def test_images_and_projection_on_request(dataset: Path, spec: DatasetSpec) -> None:
    scans = SemanticKitti([dataset], "00", spec, images=True)
    with pytest.raises(EliteError, match=r"000000\.png: no such image"):
        scans[0]
    path = dataset / "sequences/00/image_2/000000.png"
    path.parent.mkdir()
    Image.fromarray(np.full((5, 7, 3), 9, dtype=np.uint8)).save(path)
    assert scans[0].image.shape == (5, 7, 3)
    assert scans[0].projection.shape == (3, 4)


def test_an_unknown_id_names_file_and_id(dataset: Path, spec: DatasetSpec) -> None:
    path = dataset / "sequences/00/labels/000001.label"
    labels = np.fromfile(path, dtype="<u4")
    labels[3] = 17
    labels.tofile(path)
    with pytest.raises(EliteError, match=r"000001\.label: raw id 17 belongs to no class"):
        SemanticKitti([dataset], "train", spec)[1]


def test_an_empty_split_says_where_it_looked(dataset: Path, spec: DatasetSpec) -> None:
    with pytest.raises(EliteError, match=r"no scan of split 'test' \(sequences 11, .*dataset"):
        SemanticKitti([dataset], "test", spec)


def test_label_counts(dataset: Path, spec: DatasetSpec) -> None:
    counts = SemanticKitti([dataset], "train", spec).count_labels()
    assert counts.sum() == 1800
    assert counts[0] == 36  # every fiftieth point


def test_collate_keeps_empty_scans() -> None:
    def scan(size: int) -> Scan:
        points = np.full((size, 4), size, dtype=np.float32)
        return Scan(points, str(size), labels=np.full(size, size))

    batch = collate([scan(2), scan(0), scan(3)])
    assert batch.batch_index.tolist() == [0, 0, 2, 2, 2]
    assert batch.batch_size == 3
    assert batch.labels.tolist() == [2, 2, 3, 3, 3]
    assert batch.points.dtype == torch.float32
    assert batch.names == ["2", "0", "3"]
    assert batch.to("cpu").labels is not None


def test_collate_refuses_a_mixture() -> None:
    points = np.zeros((1, 4), dtype=np.float32)
    with pytest.raises(ValueError, match="1 of 2 `scans` have labels"):
        collate([Scan(points, "a"), Scan(points, "b", labels=np.zeros(1, dtype=np.int64))])
    with pytest.raises(ValueError, match="must not be empty"):
        collate([])


def test_epochs_are_seeded_permutations_that_can_begin_in_the_middle() -> None:
    sampler = EpochSampler(10, seed=1)
    first = list(sampler)
    assert sorted(index for _, index in first) == list(range(10))
    sampler.epoch = 1
    second = list(sampler)
    assert [epoch for epoch, _ in second] == [1] * 10
    assert [i for _, i in first] != [i for _, i in second]
    sampler.epoch, sampler.start = 0, 4
    assert list(sampler) == first[4:]
    assert len(sampler) == 6


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_depend_on_seed_and_position_alone(
    dataset: Path, spec: DatasetSpec, num_workers: int
) -> None:
    scans = SemanticKitti([dataset], "train", spec)

    def batches(start: int = 0, workers: int = 0) -> list[torch.Tensor]:
        sampler = EpochSampler(len(scans), seed=0)
        sampler.start = start
        training = TrainingScans(scans, AugmentationConfig(), seed=0)
        return [batch.points for batch in training_loader(training, sampler, 1, workers)]

    state = torch.get_rng_state()
    expected = batches()
    assert torch.equal(torch.get_rng_state(), state)
    for got, want in zip(batches(start=1, workers=num_workers), expected[1:], strict=True):
        assert torch.equal(got, want)


def test_validation_is_not_augmented(dataset: Path, spec: DatasetSpec) -> None:
    scans = SemanticKitti([dataset], "val", spec)
    for batch, scan in zip(validation_loader(scans), scans, strict=True):
        np.testing.assert_array_equal(batch.points.numpy(), scan.points)


def test_real_scans_are_read(data_folder: Path, spec: DatasetSpec) -> None:
    scan = SemanticKitti([data_folder / "semantickitti"], "train", spec)[0]
    assert scan.points.shape == (124668, 4)
    assert scan.labels.max() <= 19
