"""Pseudo-labels of a folder: layout, shards, what a killed process leaves, what is refused."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_street import write_small_street

from elite.data import DatasetSpec, PseudoLabelManifest, SemanticKitti, refuse_held_out
from elite.errors import EliteError
from elite.pseudo_label import (
    PseudoLabelConfig,
    Shard,
    SuperpixelConfig,
    make_pseudo_labels,
    write_contact_sheet,
)

CONFIG = PseudoLabelConfig("superpixels", superpixels=SuperpixelConfig((400.0, 100.0)))
MAKE = """
import sys
from pathlib import Path
import scipy.ndimage, skimage.segmentation
from elite.data import DatasetSpec
from elite.pseudo_label import PseudoLabelConfig, SuperpixelConfig, make_pseudo_labels
config = PseudoLabelConfig("superpixels", superpixels=SuperpixelConfig((400.0, 100.0)))
spec = DatasetSpec.load("semantic_kitti")
print("started", flush=True)
make_pseudo_labels(Path(sys.argv[1]), Path(sys.argv[2]), spec, "00,08", config)
"""

pytest.importorskip("skimage", reason="scikit-image is not installed")
KILLS = int(os.environ.get("ELITE_KILLS", "2"))  # in test_killed_at_any_moment_and_repeated


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_street(tmp_path_factory.mktemp("street"), s00=6, s08=2)


@pytest.fixture(scope="module")
def made(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    spec = DatasetSpec.load("semantic_kitti")
    report = make_pseudo_labels(street, folder, spec, "00,08", CONFIG)
    assert (report.made, report.num_frames, report.complete) == (8, 8, True)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_layout(street: Path, made: Path, spec: DatasetSpec) -> None:
    frames = [f"00/{i:06d}" for i in range(6)] + [f"08/{i:06d}" for i in range(2)]
    expected = {"manifest.json", "summary.json"}
    for frame in frames:
        folder, stem = Path("sequences") / frame[:2] / "pseudo_labels", frame[3:]
        expected |= {str(folder / kind / f"{stem}.png") for kind in ("semantic", "instance")}
        expected.add(str(folder / "record" / f"{stem}.json"))
    assert set(content(made)) == expected
    scans = SemanticKitti(
        [street], "00", spec, images=True, pseudo_labels=made, held_out_pseudo_labels=True
    )
    for scan in scans:
        assert scan.pseudo_labels is not None
        assert scan.pseudo_labels.shape == scan.image.shape[:2]
        assert (scan.pseudo_labels != 0).mean() > 0.4


def test_images_hold_16_bit_raw_ids(street: Path, tmp_path: Path, spec: DatasetSpec) -> None:
    # Every road point becomes a bus (raw id 13, a second id of its class) with a large instance.
    data = tmp_path / "street"
    write_small_street(data, s00=1)
    path = data / "sequences/00/labels/000000.label"
    labels = np.fromfile(path, "<u4")
    labels[(labels & 0xFFFF) == 40] = 13 + (40_001 << 16)
    labels.tofile(path)
    make_pseudo_labels(data, tmp_path / "out", spec, "00", CONFIG)
    folder = tmp_path / "out/sequences/00/pseudo_labels"
    semantic, instance = (
        np.asarray(Image.open(folder / kind / "000000.png")) for kind in ("semantic", "instance")
    )
    assert semantic.dtype == instance.dtype == np.uint16
    road = semantic == 20  # the id that is written for the class
    assert road.mean() > 0.2
    assert (instance[road] == 40_001).all()
    spec.to_learning(semantic.astype(np.uint32).reshape(-1))


def test_shards_share_the_work_and_give_the_same_files(
    street: Path, made: Path, tmp_path: Path, spec: DatasetSpec
) -> None:
    reports = [
        make_pseudo_labels(street, tmp_path, spec, "00,08", CONFIG, shard=Shard(i, 3))
        for i in (1, 0, 2)
    ]
    assert [report.made for report in reports] == [3, 3, 2]
    assert [report.complete for report in reports] == [False, False, True]
    assert content(tmp_path) == content(made)


@pytest.mark.parametrize("text", ["3/3", "1", "a/b", "-1/2", "1/", "0/0"])
def test_a_shard_is_written_i_of_n(text: str) -> None:
    assert Shard.parse("2/8") == Shard(2, 8)
    with pytest.raises(EliteError, match="a shard is written i/n"):
        Shard.parse(text)


def test_a_frame_that_is_broken_or_whose_data_changed_is_made_again(
    tmp_path: Path, spec: DatasetSpec
) -> None:
    data, out = write_small_street(tmp_path / "street", s00=3), tmp_path / "out"
    make_pseudo_labels(data, out, spec, "00", CONFIG)
    before = content(out)
    assert make_pseudo_labels(data, out, spec, "00", CONFIG).made == 0
    folder = out / "sequences/00/pseudo_labels"
    (folder / "semantic/000000.png").write_bytes(b"")
    (folder / "instance/000001.png").unlink()
    (folder / "record/000002.json").write_text("{")
    assert make_pseudo_labels(data, out, spec, "00", CONFIG).made == 3
    assert content(out) == before
    image = data / "sequences/00/image_2/000001.png"
    Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
    assert make_pseudo_labels(data, out, spec, "00", CONFIG).made == 1


def test_killed_at_any_moment_and_repeated(
    street: Path, made: Path, tmp_path: Path, spec: DatasetSpec
) -> None:
    """As soon as a number of files is there, which may be any."""
    whole = content(made)
    counts = np.random.default_rng(0).integers(0, len(whole), KILLS)
    for kill, count in enumerate(sorted(counts)):
        out = tmp_path / str(kill // 2)  # every second one meets what the one before left
        command = [sys.executable, "-c", MAKE, str(street), str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while process.poll() is None and sum(1 for _ in out.rglob("*.*")) < count:
                time.sleep(0.001)
            process.kill()
        found = content(out)
        assert all(found[name] == whole[name] for name in found if not name.endswith(".tmp"))
    for out in tmp_path.iterdir():
        make_pseudo_labels(street, out, spec, "00,08", CONFIG)
        assert content(out) == whole


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path, spec: DatasetSpec) -> None:
    data, out = write_small_street(tmp_path / "street", s00=1), tmp_path / "out"
    frame = out / "sequences/00/pseudo_labels/semantic/.000000.png.4711.tmp"
    frame.parent.mkdir(parents=True)
    shared = [out / f".{name}.4711.tmp" for name in ("manifest.json", "summary.json")]
    for leftover in (frame, *shared):
        leftover.write_bytes(b"half")
    make_pseudo_labels(data, out, spec, "00", CONFIG)
    assert not list(out.rglob(".*"))
    shared[0].write_bytes(b"half")  # of a call that lost the race for the manifest
    make_pseudo_labels(data, out, spec, "00", CONFIG)
    assert not list(out.rglob(".*"))


def test_other_settings_need_another_folder(street: Path, made: Path, spec: DatasetSpec) -> None:
    other = PseudoLabelConfig("superpixels", superpixels=SuperpixelConfig((300.0,)))
    with pytest.raises(EliteError, match="made with other settings"):
        make_pseudo_labels(street, made, spec, "00,08", other)
    with pytest.raises(EliteError, match="made with other settings"):
        make_pseudo_labels(street, made, spec, "00", CONFIG)


def test_the_manifest_says_what_the_labels_depend_on(made: Path) -> None:
    manifest = PseudoLabelManifest.read(made)
    assert manifest.dataset == "semantic_kitti"
    assert manifest.sequences == ("00", "08")
    assert manifest.held_out == ("08",)
    assert manifest.settings["superpixels"]["scales"] == [400.0, 100.0]
    assert "sam" not in manifest.settings
    assert manifest.model["name"] == "felzenszwalb"
    assert manifest.dumps() == (made / "manifest.json").read_text()
    record = json.loads((made / "sequences/00/pseudo_labels/record/000000.json").read_text())
    assert set(record["sources"]) == {"points", "labels", "image", "calibration"}
    assert all(len(digest) == 64 for digest in record["images"].values())


def test_validation_scans_are_refused_for_training(
    street: Path, made: Path, tmp_path: Path, spec: DatasetSpec
) -> None:
    with pytest.raises(EliteError, match="made from sequences 08, which semantic_kitti holds out"):
        SemanticKitti([street], "train", spec, images=True, pseudo_labels=made)
    assert refuse_held_out(made, allow=True).held_out == ("08",)
    make_pseudo_labels(street, tmp_path, spec, "00", CONFIG)
    assert refuse_held_out(tmp_path).held_out == ()
    assert SemanticKitti([street], "00", spec, images=True, pseudo_labels=tmp_path)[0] is not None


@pytest.mark.parametrize("text", [None, "[1]", "{}", '{"settings": {}, "model": {}, "x": 1}'])
def test_pseudo_labels_without_a_manifest_are_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(EliteError, match="`elite pseudolabel` makes pseudo-labels"):
        refuse_held_out(tmp_path)


def test_contact_sheet(street: Path, made: Path, tmp_path: Path, spec: DatasetSpec) -> None:
    path = write_contact_sheet(street, made, spec, "00", CONFIG.visibility, most=4)
    assert path is not None
    with Image.open(path) as picture:
        assert picture.width > 3 * 600  # points, pseudo-labels, truth
        assert picture.height > 4 * 180
    path.unlink()
    assert write_contact_sheet(street, tmp_path, spec, "00", CONFIG.visibility) is None
