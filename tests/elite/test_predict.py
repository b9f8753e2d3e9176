"""Prediction and evaluation from weights files, by Python and from the command line."""

import json
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from elite.cli import app
from elite.data import DatasetSpec, read_points
from elite.engine.checkpoint import load_student, load_weights, save_weights
from elite.engine.predict import Predictor, StageTimes, find_scans, predict
from elite.errors import EliteError
from elite.student import Student, StudentConfig

SMALL = StudentConfig(channels=8, head_channels=8, scales=(1, 2, 4))


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(0)
    return Student(SMALL).eval()


@pytest.fixture
def weights(student: Student, spec: DatasetSpec, tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_weights(path, student, SMALL, spec)
    return path


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_weights_file_says_which_network_it_is_of(
    student: Student, spec: DatasetSpec, weights: Path
) -> None:
    loaded, loaded_spec = load_student(weights)
    assert loaded.config == SMALL
    assert loaded_spec == spec
    for name, value in student.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_weights_of_another_shape_are_refused(weights: Path) -> None:
    with pytest.raises(EliteError, match=r"\d+ weights are missing, .* such as blocks.0"):
        load_weights(weights, Student(StudentConfig(channels=16, head_channels=8)))


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.safetensors"
    path.write_text("no tensors")
    with pytest.raises(EliteError, match="not a safetensors file"):
        load_student(path)
    with pytest.raises(EliteError, match="no such file"):
        load_student(tmp_path / "absent.safetensors")


def test_every_point_has_a_label(
    student: Student,
    spec: DatasetSpec,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = SimpleNamespace(perf_counter=partial(next, count()))  # a second a look
    monkeypatch.setattr("elite.engine.predict.time", ticks)
    source = dataset / "sequences/08/velodyne/000003.bin"
    points = read_points(source)
    points[5, 0] = 80  # outside the range
    points[6, 1] = np.nan
    points.tofile(source)
    predictor = Predictor(student, torch.device("cpu"))
    summary = predict(predictor, spec, source, tmp_path / "out")
    path = tmp_path / "out/sequences/08/predictions/000003.label"
    assert summary.files == [str(path)]
    raw = np.fromfile(path, dtype="<u4")
    assert len(raw) == len(points) == summary.num_points
    assert set(raw.tolist()) <= {c.raw_ids[0] for c in spec.classes[1:]}
    assert summary.outside_fraction == pytest.approx(2 / 600)
    assert sum(summary.class_counts.values()) == 600
    assert summary.class_counts["unlabeled"] == 0
    assert summary.seconds == StageTimes(read=1, voxelize=1, network=1, write=1)


def test_labels_are_the_largest_logits_of_the_training_form(
    student: Student, spec: DatasetSpec, dataset: Path
) -> None:
    points = read_points(dataset / "sequences/00/velodyne/000000.bin")
    output = student(torch.from_numpy(points), torch.zeros(len(points), dtype=torch.int64), 1)
    expected = output.logits[:, 1:].argmax(dim=1) + 1
    assert output.valid.all()
    got = Predictor(student, torch.device("cpu"))(points).labels
    assert (got == expected.numpy()).mean() > 0.999  # folded arithmetic may tip a tie


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_fewer_bits_keep_most_labels(student: Student, dataset: Path, dtype: torch.dtype) -> None:
    points = read_points(dataset / "sequences/00/velodyne/000000.bin")
    exact = Predictor(student, torch.device("cpu"))(points).labels
    rounded = Predictor(student, torch.device("cpu"), dtype=dtype)
    assert rounded.network.classes.weight.dtype == dtype
    assert (rounded(points).labels == exact).mean() > 0.9


def test_a_folder_keeps_its_tree(student: Student, spec: DatasetSpec, tmp_path: Path) -> None:
    for name in ("b/two.bin", "a/one.bin"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        np.zeros((3, 4), dtype=np.float32).tofile(path)
    assert [p.name for p in find_scans(tmp_path / "in")] == ["one.bin", "two.bin"]
    predictor = Predictor(student, torch.device("cpu"))
    predict(predictor, spec, tmp_path / "in", tmp_path / "out")
    written = sorted(str(p.relative_to(tmp_path / "out")) for p in tmp_path.rglob("*.label"))
    assert written == ["a/one.label", "b/two.label"]


def test_an_empty_scan_has_no_labels(student: Student, spec: DatasetSpec, tmp_path: Path) -> None:
    (tmp_path / "empty.bin").write_bytes(b"")
    predictor = Predictor(student, torch.device("cpu"))
    predict(predictor, spec, tmp_path / "empty.bin", tmp_path)
    assert (tmp_path / "empty.label").read_bytes() == b""


# ---- the commands --------------------------------------------------------------------------------


def test_predict_command(weights: Path, dataset: Path, tmp_path: Path) -> None:
    source = dataset / "sequences/08/velodyne/000004.bin"
    code, out, _ = run(
        "predict", source, "--weights", weights, "--output", tmp_path / "out", "--view", "--json"
    )
    assert code == 0
    summary = json.loads(out)
    assert summary["num_points"] == 600
    assert set(summary["seconds"]) == {"read", "voxelize", "network", "write"}
    label = Path(summary["files"][0])
    assert label.stat().st_size == 600 * 4
    assert Image.open(label.with_suffix(".png")).width > 500


def test_predict_command_in_words(weights: Path, dataset: Path, tmp_path: Path) -> None:
    code, out, _ = run("predict", dataset, "--weights", weights, "--output", tmp_path / "out")
    assert code == 0
    assert "5 scans, 3,000 points" in out
    for word in ("classes:", "outside the range", "voxelize", "write"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "absent.bin"], "absent.bin: no scan found"),
        (["predict", "{}", "--weights", "absent.safetensors"], "absent.safetensors: no such file"),
        (["predict", "{}", "--device", "tpu9"], "there is no device 'tpu9'"),
        (["eval", "--data", "{}", "--split", "test"], "no scan of split 'test'"),
        (["train", "--config", "absent"], "there is no file absent"),
        (["train"], "`data.roots` is missing"),
        (["train", "--data", "{}", "optimizer.rate=1"], "`optimizer.rate` is not a key"),
        (["train", "--resume", "{}"], "there is no run to resume"),
    ],
)
def test_a_failure_is_one_sentence_and_exit_code_1(
    weights: Path, dataset: Path, arguments: list[str], message: str
) -> None:
    arguments = [a.format(dataset) for a in arguments]
    if arguments[0] in ("predict", "eval") and "--weights" not in arguments:
        arguments += ["--weights", str(weights)]
    code, out, err = run(*arguments)
    assert code == 1
    assert message in err
    assert "Traceback" not in out + err


def test_without_weights_the_remedy_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("predict", tmp_path)
    assert code == 1
    assert "elite demo" in err


def test_data_check_command(dataset: Path) -> None:
    code, out, _ = run("data", "check", dataset)
    assert code == 0
    assert "5 scans" in out
    assert "no problems" in out
    (dataset / "sequences/00/labels/000000.label").unlink()
    code, out, _ = run("data", "check", dataset, "--json")
    assert code == 1
    assert len(json.loads(out)["problems"]) == 1


def test_train_and_eval_commands(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small = ["student.channels=8", "student.head_channels=8", "student.scales=[1, 2, 4]"]
    settings = ["optimizer.epochs=1", "data.num_workers=0", "data.batch_size=2", "log_every=1"]
    code, out, err = run(
        "train", "--data", dataset, "--output", folder, "--json", *small, *settings
    )
    assert code == 0, err
    assert json.loads(out)["steps"] == 2
    code, out, err = run("train", "--resume", folder)
    assert code == 0, err
    assert "2 steps" in out

    output = tmp_path / "evaluation"
    code, out, err = run("eval", "--data", dataset, "--weights", folder, "--output", output)
    assert code == 0, err
    assert "absent" in out
    report = json.loads((output / "scores.json").read_text())
    matrix = np.array(report["confusion_matrix"])
    assert matrix[1:].sum() == report["scores"]["num_points"] == 1176  # 24 of 1,200 unlabelled
    assert report["num_scans"] == 2
    assert Image.open(output / "confusion.png").width > 200


def test_doctor_command() -> None:
    code, out, _ = run("doctor", "--json")
    report = json.loads(out)
    assert code == 0, report
    assert {check["op"] for check in report["checks"]} >= {"voxelize", "sparse_conv"}
    assert all(check["error"] is None for check in report["checks"])
