"""The demo and the simulator's command on three scans, with a small network."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from elite.cli import app
from elite.cli.simulate import parse_sequence
from elite.errors import EliteError

SMALL = [
    "data.train_split=00,01",
    "data.val_split='02'",
    "student.channels=8",
    "student.head_channels=8",
    "optimizer.epochs=1",
    "data.num_workers=1",
    "data.batch_size=1",
    "distill.pixel_hidden=8",
    "camera.height=64",
    "camera.width=256",
]


@pytest.mark.slow
def test_the_demo_leaves_weights_scores_and_pictures_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = ["demo", "--output", str(folder), "--json"]
    command += [part for change in SMALL for part in ("--set", change)]
    first = CliRunner().invoke(app, command)
    assert first.exit_code == 0, first.stderr
    summary = json.loads(first.stdout)
    assert (summary["scans"], summary["steps"]) == (3, 2)
    for name in ("alone", "with_teacher"):
        assert summary[name]["num_scans"] == 1
        assert 0 < summary[name]["scores"]["miou_present"] < 1
    assert summary["alone"]["scores"] != summary["with_teacher"]["scores"]
    assert 0.5 < summary["pseudo_labels"]["coverage"] < 1
    labels = np.fromfile(summary["prediction"]["files"][0], dtype="<u4")
    assert len(labels) == summary["prediction"]["num_points"] > 100_000
    assert all(Image.open(picture).width > 1000 for picture in summary["pictures"])
    report = (folder / "summary.md").read_text()
    assert "| road |" in report
    shown = re.findall(r"!\[.*\]\((.*)\)", report)
    assert len(shown) == 3
    assert all((folder / picture).is_file() for picture in shown)

    weights = [folder / name / "last.safetensors" for name in ("alone", "with_teacher")]
    trained = [path.read_bytes() for path in weights]
    second = CliRunner().invoke(app, command)
    assert second.exit_code == 0, second.stderr
    again = json.loads(second.stdout)
    assert all(again[name] == summary[name] for name in ("alone", "with_teacher"))
    assert [path.read_bytes() for path in weights] == trained

    other = CliRunner().invoke(app, [*command, "--set", "optimizer.lr=0.5"])
    assert other.exit_code == 1
    assert "an earlier run has another configuration" in other.stderr


def test_simulate_command(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", str(tmp_path), "--sequence", "03=1", "--json"])
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["sequences"] == {"03": 1}
    assert report["problems"] == []
    assert report["num_images"] == 1
    wrong = CliRunner().invoke(app, ["simulate", str(tmp_path), "--sensor", "sonar"])
    assert wrong.exit_code == 1
    assert "there is no sensor 'sonar'" in wrong.stderr


def test_a_sequence_is_a_name_and_a_number() -> None:
    assert parse_sequence("00=20") == ("00", 20)
    for text in ("00", "00=", "=3", "00=many", "street=3"):
        with pytest.raises(EliteError, match="written NN=FRAMES"):
            parse_sequence(text)
