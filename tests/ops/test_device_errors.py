"""What CUDA kernels report: named by op and argument, once, whoever asks first."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from elite_ops import (
    _C,
    build_segments,
    check_device_errors,
    confusion_matrix,
    majority_vote,
    voxelize,
)

pytestmark = pytest.mark.gpu
GRID = {"point_cloud_range": (0, 0, 0, 4, 4, 4), "spatial_shape": (4, 4, 4)}


def report_segment(device: torch.device) -> None:
    build_segments(torch.tensor([0, 7], dtype=torch.int32, device=device), 3)


def test_a_check_names_every_op_and_argument_and_clears(cuda: torch.device) -> None:
    report_segment(cuda)
    wrong = torch.full((1,), 9, device=cuda)
    confusion_matrix(wrong, wrong, 3)
    with pytest.raises(IndexError) as caught:
        check_device_errors()
    assert "build_segments: `inverse`" in str(caught.value)
    assert "confusion_matrix: `prediction`" in str(caught.value)
    assert "majority_vote" not in str(caught.value)
    check_device_errors()


def test_an_op_that_waits_names_the_op_that_was_wrong(cuda: torch.device) -> None:
    report_segment(cuda)
    points = torch.full((3, 3), 1.5, device=cuda)
    with pytest.raises(IndexError, match="build_segments: `inverse`") as caught:
        voxelize(points, **GRID)
    assert "batch_index" not in str(caught.value)
    (voxels,) = voxelize(points, **GRID)
    assert voxels.indices.tolist() == [[0, 1, 1, 1]]


def test_a_fixed_capacity_leaves_the_report_to_the_check(cuda: torch.device) -> None:
    points = torch.tensor([[0.5, 0.5, 0.5], [1.5, 1.5, 1.5]], device=cuda)
    voxelize(points, capacity=1, **GRID)
    with pytest.raises(IndexError, match="voxelize: `capacity` must hold the voxels"):
        check_device_errors()


def run_alone(code: str, folder: Path) -> str:
    """What a process of its own prints, in which no op has run before."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FIRST_USE = """
import torch
from elite_ops import build_segments, check_device_errors

inverse = torch.tensor([0, 7], dtype=torch.int32, device="{device}")
for mode in (torch.inference_mode, torch.no_grad, torch.inference_mode):
    with mode():
        build_segments(inverse, 3)
    try:
        check_device_errors()
    except IndexError as error:
        print(mode.__name__, error)
"""


def test_the_first_use_may_be_under_inference_mode(cuda: torch.device, tmp_path: Path) -> None:
    lines = run_alone(FIRST_USE.format(device=cuda.type), tmp_path).splitlines()
    assert [line.split()[0] for line in lines] == ["inference_mode", "no_grad", "inference_mode"]
    assert all("build_segments: `inverse`" in line for line in lines)


def emulated(device: torch.device) -> ctypes.CDLL:
    """The emulated device, which can be asked and told things."""
    if not _C.emulates_cuda:
        pytest.skip("of the emulated device")
    return ctypes.CDLL(_C.__file__)


def test_a_check_waits_for_the_device_once(cuda: torch.device) -> None:
    """For the device, not for the current stream."""
    count = emulated(cuda).elite_device_synchronizations
    before = count()
    check_device_errors()
    assert count() == before + 1


FIRST_USE_IN_A_CAPTURE = """
import ctypes
import torch
from elite_ops import _C, build_segments, check_device_errors

device = ctypes.CDLL(_C.__file__)
device.elite_set_capturing(True)
build_segments(torch.tensor([0, 7], dtype=torch.int32), 3)
try:
    check_device_errors()
except RuntimeError as error:
    print(error)
device.elite_set_capturing(False)
try:
    check_device_errors()
except IndexError as error:
    print(error)
"""


def test_the_first_use_may_be_beside_a_capture(cuda: torch.device, tmp_path: Path) -> None:
    """A check may not: it would wait for the stream that is captured."""
    emulated(cuda)
    refused, reported = run_alone(FIRST_USE_IN_A_CAPTURE, tmp_path).splitlines()[-2:]
    assert "not permitted when stream is capturing" in refused
    assert "build_segments: `inverse`" in reported


def of_a_gpu(device: torch.device) -> torch.device:
    if device.type != "cuda":
        pytest.skip("of a GPU's streams")
    return device


def test_a_check_waits_for_every_stream(cuda: torch.device) -> None:
    device = of_a_gpu(cuda)
    inverse = torch.tensor([0, 7], dtype=torch.int32, device=device)
    torch.cuda.synchronize(device)
    with torch.cuda.stream(torch.cuda.Stream(device)):
        torch.cuda._sleep(100_000_000)
        build_segments(inverse, 3)
    with pytest.raises(IndexError, match="build_segments"):
        check_device_errors()


def test_the_first_use_may_be_in_a_capture(cuda: torch.device, tmp_path: Path) -> None:
    of_a_gpu(cuda)
    code = """
import torch
from elite_ops import build_segments, check_device_errors
labels = torch.tensor([0, 7], dtype=torch.int32, device="cuda")
graph = torch.cuda.CUDAGraph()
with torch.cuda.graph(graph):
    build_segments(labels, 3)
check_device_errors()
for _ in range(2):
    graph.replay()
    try:
        check_device_errors()
    except IndexError as error:
        print(error)
"""
    assert run_alone(code, tmp_path).count("build_segments: `inverse`") == 2


def test_voxelize_copies_once_to_the_host(cuda: torch.device) -> None:
    device = of_a_gpu(cuda)
    points = torch.rand(100, 3, device=device)
    voxelize(points, **GRID)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        voxelize(points, **GRID)
    copies = [event for event in profile.events() if "Memcpy DtoH" in event.name]
    assert len(copies) == 1


def test_a_label_that_is_left_out_is_reported_by_its_own_op(cuda: torch.device) -> None:
    segments = build_segments(torch.zeros(2, dtype=torch.int32, device=cuda), 1)
    majority_vote(torch.tensor([1, 9], device=cuda), segments, 4)
    with pytest.raises(IndexError, match="majority_vote: `labels`"):
        check_device_errors()
