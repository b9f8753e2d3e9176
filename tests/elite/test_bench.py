"""`elite bench`: the times of the stages, of the network, and of everything."""

import json
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from elite.cli import app
from elite.data import DatasetSpec
from elite.engine.bench import Agreement, Times, bench
from elite.engine.checkpoint import save_weights
from elite.engine.predict import find_scans
from elite.student import Student, StudentConfig

SMALL = StudentConfig(channels=8, head_channels=8, scales=(1, 2, 4))
STAGES = ["read", "copy", "voxels and kernel maps", "points to voxels"]
STAGES += ["block 1", "block 2", "head", "points outside"]


@pytest.fixture
def weights(spec: DatasetSpec, tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_weights(path, Student(SMALL).eval(), SMALL, spec)
    return path


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on by a second whenever it is looked at: what is measured once takes one."""
    clock = SimpleNamespace(perf_counter=partial(next, count()))
    monkeypatch.setattr("elite.engine.bench.time", clock)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["bench", *(str(a) for a in arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_percentiles_of_a_hundred_rounds() -> None:
    times = Times.of(np.random.default_rng(0).permutation(np.arange(101.0)))
    assert times == Times(p50=50, p90=90, p99=99, min=0)


def test_every_stage_is_measured_in_every_round(
    dataset: Path, spec: DatasetSpec, ticks: None
) -> None:
    done = []
    report = bench(
        Student(SMALL),
        spec,
        find_scans(dataset),
        torch.device("cpu"),
        rounds=3,
        progress=lambda *at: done.append(at),
    )
    assert list(report.stages) == STAGES
    assert (report.rounds, report.num_scans, report.num_points) == (3, 5, 600)
    assert done[-1] == (5, 5)
    for times in (*report.stages.values(), report.network, report.end_to_end):
        assert times == Times(p50=1, p90=1, p99=1, min=1)


def test_bench_command(weights: Path, dataset: Path) -> None:
    threads = torch.get_num_threads()
    scan = dataset / "sequences/08/velodyne/000003.bin"
    common = (scan, "--weights", weights, "--rounds", "2", "--device", "cpu", "--threads", "1")
    try:
        code, out, err = run(*common, "--json")
        assert code == 0, err
        report = json.loads(out)
        assert list(report["stages"]) == STAGES
        assert (report["device"], report["threads"], report["rounds"]) == ("cpu", 1, 2)
        assert report["end_to_end"].keys() == {"p50", "p90", "p99", "min"}
        code, out, err = run(*common)
        assert code == 0, err
        for word in (*STAGES, "network alone", "file to labels", "1 CPU threads", "600 points"):
            assert word in out
    finally:
        torch.set_num_threads(threads)


def test_the_captured_form_has_times_and_agrees(weights: Path, dataset: Path, ticks: None) -> None:
    common = (dataset, "--weights", weights, "--rounds", "4", "--device", "cpu", "--captured")
    code, out, err = run(*common, "--json")
    assert code == 0, err
    captured = json.loads(out)["captured"]
    assert list(captured) == ["float32", "float16", "bfloat16"]
    assert captured["float32"]["agreement"] == 1
    assert 0.9 < captured["bfloat16"]["agreement"] <= 1
    assert all(form["end_to_end"]["p50"] == 1 for form in captured.values())
    code, out, err = run(*common)
    assert code == 0, err
    assert "file to labels, captured, float16" in out
    assert "100.000% in captured, float32" in out


def test_agreement_counts_over_all_scans() -> None:
    agreement = Agreement()
    assert agreement.part == 0
    agreement.add(np.array([1, 2, 3]), np.array([1, 2, 4]))
    agreement.add(np.array([5]), np.array([5]))
    assert agreement.part == 0.75


def test_another_precision_says_how_many_labels_stay(weights: Path, dataset: Path) -> None:
    common = (dataset, "--weights", weights, "--rounds", "1", "--device", "cpu")
    code, out, err = run(*common, "--precision", "bfloat16", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["precision"] == "bfloat16"
    assert 0.9 < report["agreement"] <= 1
    code, out, err = run(*common, "--precision", "bfloat16")
    assert f"{report['agreement']:.3%} in bfloat16" in out
    code, out, err = run(*common)
    assert code == 0, err
    assert "labels of float32" not in out


@pytest.mark.slow
def test_nothing_need_be_at_hand() -> None:
    code, out, err = run("--rounds", "1", "--device", "cpu")
    assert code == 0, err
    assert "synthetic street; weights: random" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.bin"], "absent.bin: no scan found"),
        (["{}", "--weights", "absent.safetensors"], "absent.safetensors: no such file"),
        (["{}", "--device", "tpu9"], "there is no device 'tpu9'"),
    ],
)
def test_a_failure_is_one_sentence(dataset: Path, arguments: list[str], message: str) -> None:
    code, out, err = run(*(argument.format(dataset) for argument in arguments))
    assert code == 1
    assert message in err
    assert "Traceback" not in out + err


@pytest.mark.parametrize("option", ["--rounds", "--threads"])
def test_nothing_can_be_measured_in_no_rounds_or_on_no_thread(dataset: Path, option: str) -> None:
    code, _, err = run(dataset, option, "0")
    assert code == 2
    assert option in err
