"""Goals and what was reached, with figures that can be checked by hand."""

from pathlib import Path
from typing import Any

import pytest
from report_targets import targets
from results_file import Results
from test_report import FILE, FORWARD, LIMITS, entry, write

BACKWARD = "convolution backward, map given"
CPU: dict[str, Any] = {"device": "cpu"}
AT_64 = {**CPU, "channels": 64, "batch": 1, "precision": "fp32"}


def reached(files: list[Results], what: str) -> list[str]:
    """The cells of the first row that begins so, after its target."""
    line = next(line for line in targets(files).splitlines() if line.startswith(f"| {what}"))
    return [cell.strip() for cell in line.split("|")[3:-1]]


@pytest.fixture
def on_cpu(tmp_path: Path) -> Results:
    """600 GFLOP/s at most; forward 3 s against 6, backward 5 against 26; and so on."""
    flop = {"flop": 1.5e12}
    small, large = {"peak_mb": 20, "process_mb": 300}, {"peak_mb": 100, "process_mb": 400}
    entries = [
        entry("limits: multiply-add", None, 1.0, **CPU, info={"flop": 6e11}),
        entry(FORWARD, "elite_ops", 3.0, **AT_64, info=flop),
        entry(FORWARD, "spconv", 6.0, **AT_64, info=flop),
        entry(BACKWARD, "elite_ops", 5.0, **AT_64, info=flop),
        entry(BACKWARD, "spconv", 26.0, **AT_64, info=flop),
        entry(FORWARD, "elite_ops", 1.0, **{**AT_64, "channels": 16}),
        entry(FORWARD, "spconv", 4.0, **{**AT_64, "channels": 16}),
        entry(FORWARD, "elite_ops", 1.0, **{**AT_64, "channels": 32}),
        entry(FORWARD, "spconv", 3.0, **{**AT_64, "channels": 32}),
        entry(FILE, "elite_ops", 1.0, **CPU, info=small),
        entry(FILE, "spconv_rows", 12.0, **CPU, info=large),
        entry(FILE, "torch_rows", 11.0, **CPU, info={**large, "peak_mb": 80}),
        entry(FILE, "spconv_keys", 7.0, **CPU, info=large),
        entry("one thread and two", None, 4.0, **CPU, work="a step", num_threads=1),
        entry("one thread and two", None, 2.5, **CPU, work="a step", num_threads=2),
        entry("one thread and two", None, 2.5, **CPU, work="alone", num_threads=1),
    ]
    return write(tmp_path, entries)


@pytest.mark.parametrize(
    ("what", "cell"),
    [
        ("scan to labels, against the authors' formulation on spconv", "12.00 x"),
        ("scan to labels, against theirs on torch", "11.00 x"),
        ("the same, with packed keys", ""),
        ("the same, against theirs with packed keys", "7.00 x"),
        ("the same, peak memory", "25% (whole process 75%)"),
        ("convolution 64 to 64, forward, against spconv", "2.00 x"),
        ("the same, of the cores' multiply-adds", "83%"),
        ("the same, forward and backward", "4.00 x"),  # 32 of 8
        ("16, 32, 128, 256 channels, forward", "3.00 x"),
        ("kernel map, against spconv", ""),
        ("two threads", "1.60 x (a step)"),
    ],
)
def test_what_is_reached_on_a_cpu(on_cpu: Results, what: str, cell: str) -> None:
    assert reached([on_cpu], what) == [cell]


@pytest.mark.parametrize(("ours", "theirs", "cell"), [(0, 50, "2%"), (20, 0, ""), (0, 0, "")])
def test_of_memory_that_is_not_resolved_at_most_is_told(
    tmp_path: Path, ours: int, theirs: int, cell: str
) -> None:
    """0 is less than 1 MiB: of ours that is all of it, of theirs it may be anything."""
    entries = [
        entry(FILE, "elite_ops", 1.0, **CPU, info={"peak_mb": ours}),
        entry(FILE, "spconv_rows", 1.0, **CPU, info={"peak_mb": theirs}),
        entry(FILE, "torch_rows", 1.0, **CPU, info={"peak_mb": 100}),
    ]
    assert reached([write(tmp_path, entries)], "the same, peak memory") == [cell]


def test_on_a_gpu_the_worst_case_counts_with_its_roofline(tmp_path: Path) -> None:
    half = {"channels": 64, "batch": 1, "precision": "fp16"}
    info = {"flop": 4e11}
    entries = [
        *LIMITS,
        entry(FORWARD, "elite_ops", 2e-3, **half, info=info),
        entry(FORWARD, "reference", 1e-3, **half, info=info),
        entry(FORWARD, "spconv", 3e-3, **half, info=info),
        entry(FORWARD, "elite_ops", 1e-3, **{**half, "batch": 4}, info=info),
        entry(FORWARD, "spconv", 9e-3, **{**half, "batch": 4}, info=info),
        entry("voxelization", "elite_ops", 1e-4, scales=5, batch=1),
        entry("voxelization", "unique_keys", 25e-4, scales=5, batch=1),
        entry("voxelization", "unique_rows", 99e-4, scales=5, batch=1),
    ]
    results = [write(tmp_path, entries)]
    assert reached(results, "convolution 64 to 64, fp16") == ["1.50 x, 50% of the roofline"]
    assert reached(results, "the same, backward") == [""]
    assert reached(results, "five scales of voxels, against torch.unique |")[0].startswith(
        "25.00 x"
    )


def test_the_graph_has_a_time_of_its_own_and_the_labels_of_float32(tmp_path: Path) -> None:
    group, half = "a scan, from points on the device to labels", {"precision": "fp16"}
    info = {"p99": 2e-3, "agreement": 0.9985}
    entries = [
        entry(group, "elite_ops", 5e-3, **half, info=info),
        entry(group, "elite_ops_captured", 1e-3, **half, info=info),
        entry(group, "spconv_rows", 16e-3, **half, info=info),
    ]
    results = [write(tmp_path, entries)]
    assert reached(results, "scan in GPU memory to labels") == ["1 ms"]
    assert reached(results, "the same, p99") == ["2 ms"]
    assert reached(results, "the same, against the authors' formulation") == ["16.00 x"]
    assert reached(results, "labels of float32 in fp16") == ["99.850%"]
    assert reached(results, "labels of float32 in bf16") == [""]


def test_a_column_for_each_file_of_the_device(on_cpu: Results) -> None:
    text = targets([on_cpu, on_cpu])
    assert text.splitlines()[2] == "| what | target | a | a |"
    assert reached([on_cpu, on_cpu], "two threads") == ["1.60 x (a step)"] * 2
    gpu = text.split("**On a GPU**")[1]
    assert gpu.count("| not run yet |") == len(gpu.strip().splitlines()) - 2
