"""The student's profile, on the CPU, where operators stand in for kernels."""

from __future__ import annotations

import json
from pathlib import Path

import profile_student
import pytest
import torch
from kernel_profile import Span, by_kernel, distribution, profiled, whole


def test_kernels_are_added_up_by_name_the_costliest_first() -> None:
    spans = [Span("a", 0, 1), Span("b", 1, 5), Span("a", 6, 7), Span("b", 7, 11)]
    assert by_kernel(spans, calls=2) == [
        {"name": "b", "runs": 1.0, "microseconds": 4.0, "share": 0.8},
        {"name": "a", "runs": 1.0, "microseconds": 1.0, "share": 0.2},
    ]
    assert by_kernel([], calls=2) == []


def test_gaps_are_wall_without_busy() -> None:
    spans = [Span("a", 10, 12), Span("b", 15, 20)]
    assert whole(spans, calls=1) == {"busy": 7.0, "wall": 10.0, "kernels": 2.0}


def test_what_runs_side_by_side_counts_once() -> None:
    spans = [Span("inside", 2, 3), Span("long", 0, 10), Span("over the end", 8, 12)]
    assert whole(spans, calls=1) == {"busy": 12.0, "wall": 12.0, "kernels": 3.0}


def test_nothing_that_ran_is_nothing() -> None:
    assert whole([], calls=4) == {"busy": 0.0, "wall": 0.0, "kernels": 0.0}


def test_a_distribution_has_its_median_and_deciles() -> None:
    times = distribution([float(n) for n in range(101)])
    assert times == {"median": 50.0, "p10": 10.0, "p90": 90.0, "rounds": 101}


def test_operators_are_found() -> None:
    a = torch.ones(100, 100)
    spans = profiled(lambda: a @ a, torch.device("cpu"), rounds=3)
    (row,) = (row for row in by_kernel(spans, 3) if "matmul" in row["name"])
    assert row["runs"] == 1
    assert row["microseconds"] > 0


def test_the_file_says_what_a_reader_has_to_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "student.json"
    few = ["--device", "cpu", "--precision", "fp32", "--points", "2000", "--rounds", "3"]
    assert profile_student.main([*few, "--json", str(path)]) == 0
    result = json.loads(path.read_text())
    assert result["labels_of_float32"] == 1
    assert result["points"] == 2000
    assert len(result["voxels"]) == 5
    assert result["machine"]["torch"] == torch.__version__
    assert result["commit"]
    assert result["replay"]["p10"] <= result["replay"]["median"] <= result["replay"]["p90"]
    assert 0 < result["profile"]["busy"] <= result["profile"]["wall"]
    times = {row["name"]: row["microseconds"] for row in result["by_kernel"]}
    assert "elite_ops::sparse_conv_fused" in times
    assert list(times.values()) == sorted(times.values(), reverse=True)
    said = capsys.readouterr().out.splitlines()
    assert said[-1].startswith("a scan: ")
