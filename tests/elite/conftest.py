"""A tiny labelled data set, and a stand-in for the network that trains in milliseconds."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from emulated_graph import emulate_graphs

from elite.data import DatasetSpec, write_labels, write_points
from elite_ops import on_cuda

# What commands print is searched for words: without colours, and not cut to fit a narrow terminal.
# They look at these when they are imported.
for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH"):
    os.environ.pop(name, None)
os.environ["COLUMNS"] = str(max(80, shutil.get_terminal_size().columns))

CALIBRATION = """P0: 7e2 0 6e2 0 0 7e2 1.8e2 0 0 0 1 0
P2: 7.188560e+02 0 6.071928e+02 4.538225e+01 0 7.188560e+02 1.852157e+02 -1.130887e-01 0 0 1 3.77e-03
Tr: 4.27e-04 -9.99e-01 -8.08e-03 -1.19e-02 -7.21e-03 8.08e-03 -9.99e-01 -5.40e-02 9.99e-01 4.85e-04 -7.2e-03 -2.91e-01
"""  # noqa: E501


def write_scan(root: Path, sequence: str, frame: int, num_points: int = 600) -> None:
    """One scan whose labels can be told from the height of the points."""
    rng = np.random.default_rng(frame)
    points = rng.uniform([-20, -20, -2, 0], [20, 20, 1.5, 1], size=(num_points, 4))
    raw = np.select([points[:, 2] < -1, points[:, 2] < 0.5], [40, 50], 70).astype(np.uint32)
    raw[::50] = 0
    folder = root / "sequences" / sequence
    write_points(folder / "velodyne" / f"{frame:06d}.bin", points.astype(np.float32))
    write_labels(folder / "labels" / f"{frame:06d}.label", raw, np.arange(num_points) % 7)
    (folder / "calib.txt").write_text(CALIBRATION)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three scans in sequence 00 and two in 08."""
    root = tmp_path / "dataset"
    for frame in range(3):
        write_scan(root, "00", frame)
    for frame in range(3, 5):
        write_scan(root, "08", frame)
    return root


@pytest.fixture(scope="session")
def spec() -> DatasetSpec:
    return DatasetSpec.load("semantic_kitti")


@pytest.fixture(autouse=True)
def graphs_of_the_emulated_device(monkeypatch: pytest.MonkeyPatch) -> None:
    if on_cuda(torch.empty(0)):
        emulate_graphs(monkeypatch)
