"""Figures of quality, the comparison with the truth, and the command that prints both."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from small_street import write_small_street
from typer.testing import CliRunner

from elite.cli import app
from elite.data import DatasetSpec
from elite.data.street import simulate
from elite.pictures import dense_overlay, sparse_overlay
from elite.pictures.sheet import display_colours
from elite.pseudo_label import PseudoLabelConfig, compare_with_truth, make_pseudo_labels
from elite.pseudo_label.quality import frame_quality, nearest_labels, total_quality
from elite.pseudo_label.scatter import ImageLabels, ProjectedPoints

pytest.importorskip("skimage", reason="scikit-image is not installed")


def image_labels(rows: list[list[int]]) -> ImageLabels:
    labels = np.array(rows, dtype=np.int64)
    return ImageLabels(labels, np.zeros_like(labels))


def test_counts_by_hand(spec: DatasetSpec) -> None:
    none = np.zeros((0, 2), dtype=np.int64)
    points = ProjectedPoints(
        none, np.zeros(0, np.float32), none[:, 0], none[:, 0], none, (2, 4), 10, 1
    )
    sparse = image_labels([[9, 0, 1, 0], [0, 0, 0, 15]])
    dense = image_labels([[9, 9, 9, 0], [9, 9, 9, 15]])
    painted = np.array([[1, 1, 1, 0], [1, 1, 1, 0]], dtype=bool)
    frame = frame_quality(points, sparse, dense, painted, spec.num_classes)
    assert (frame.painted_pixels, frame.contested_pixels, frame.agreeing_pixels) == (6, 2, 1)
    total = total_quality([frame, frame], spec)
    assert total.num_images == 2
    assert (total.hidden, total.sparse_coverage, total.coverage) == (0.1, 3 / 8, 7 / 8)
    assert total.agreement == 0.5
    assert total.lost_classes == ["car"]


def test_no_frames_have_no_figures(spec: DatasetSpec) -> None:
    assert total_quality([], spec).coverage == 0


def test_nearest_label() -> None:
    labels = nearest_labels(image_labels([[9, 0, 0, 0, 1], [0, 0, 0, 0, 0]]))
    assert labels[:, [0, 1, 3, 4]].tolist() == [[9, 9, 1, 1]] * 2
    assert not nearest_labels(image_labels([[0, 0]])).any()


def test_superpixels_beat_the_nearest_point_on_the_street(
    tmp_path: Path, spec: DatasetSpec
) -> None:
    simulate(tmp_path, sequences={"00": 1}, seed=3, workers=1)
    make_pseudo_labels(tmp_path, tmp_path, spec, "00", PseudoLabelConfig("superpixels"))
    truth = compare_with_truth(tmp_path, tmp_path, spec, "00")
    assert truth is not None
    assert truth.coverage > 0.7
    assert truth.spilled < 0.1
    assert truth.covered.accuracy > max(0.95, truth.nearest_covered.accuracy + 0.03)
    assert truth.everywhere.miou_present > truth.nearest_everywhere.miou_present + 0.05
    assert truth.filled.accuracy > truth.nearest_everywhere.accuracy + 0.02


def test_colours_are_where_the_labels_are(spec: DatasetSpec) -> None:
    image = np.full((9, 9, 3), 100, dtype=np.uint8)
    labels = np.zeros((9, 9), dtype=np.int64)
    labels[4, 4] = 13
    colour = display_colours(spec)[13].astype(int)
    dots = np.asarray(sparse_overlay(image, labels, spec)).astype(int)
    assert (dots[3:6, 3:6] == colour).all()
    assert (dots[0] == 50).all()
    dense = np.asarray(dense_overlay(image, labels, spec)).astype(int)
    assert (dense[0] == 50).all()
    assert dense[4, 4].argmax() == colour.argmax()
    assert dense[4, 4].min() < dense[4, 4].max() - 40


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["pseudolabel", *map(str, arguments)])
    return result.exit_code, result.output


def test_the_command(tmp_path: Path) -> None:
    data, out = write_small_street(tmp_path / "street", s00=4), tmp_path / "out"
    options = ("--data", data, "--output", out, "--split", "00", "--segmenter", "superpixels")
    code, output = run(*options, "--shard", "1/2")
    assert code == 0
    assert "2 of 2 frames made" in output
    assert "other frames of the split are missing" in output
    code, output = run(*options)
    assert code == 0
    assert "2 of 4 frames made" in output
    assert "against the truth" in output
    assert (out / "contact_sheet.jpg").is_file()
    code, output = run(*options, "--json")
    result = json.loads(output[output.index("{") : output.rindex("}") + 1])
    assert result["report"]["made"] == 0
    assert result["report"]["complete"] is True
    assert 0 < result["truth"]["covered"]["accuracy"] <= 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Segment Anything needs a checkpoint"),
        (("--checkpoint", "absent.pth"), "absent.pth: no such file"),
        (("--segmenter", "magic"), "`segmenter` must be"),
        (("--shard", "2/2", "--segmenter", "superpixels"), "a shard is written i/n"),
        (("sam.sizes=vit_b",), "Did you mean `size`"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    data = write_small_street(tmp_path, s00=1)
    code, output = run("--data", data, "--split", "00", "--device", "cpu", *arguments)
    assert code == 1
    assert message in output


def test_without_scikit_image_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_small_street(tmp_path, s00=1)
    module = sys.modules["elite.pseudo_label.superpixels"]

    def absent(name: str) -> str:
        raise module.PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", absent)
    code, output = run("--data", data, "--split", "00", "--segmenter", "superpixels")
    assert code == 1
    assert 'pip install "elite-lidar[segment]"' in output
