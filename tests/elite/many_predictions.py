"""Predicts scans of changing size, and writes what the process holds in between, as JSON.

    python many_predictions.py COUNT FOLDER

Three phases, each with ten marks: "network", COUNT scans from memory; "files", a tenth as many from
files in FOLDER, ten at a time; "leaking", two hundred scans whose logits somebody keeps.
"""

import ctypes
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # before torch is imported: cores are shared

import numpy as np
import torch
from numpy.typing import NDArray

from elite.data import DatasetSpec, write_points
from elite.engine.predict import Predictor, predict
from elite.student import Student, StudentConfig

MAX_POINTS = 3000
WARM_UP = 60  # predictions, the first of them with the most points
FILES = 10
LEAKS = 200
MARKS = 10


class MallInfo(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_size_t) for name in FIELDS.split())


LIBRARY = ctypes.CDLL(None)
ROLLUP = Path("/proc/self/smaps_rollup")
PR_SET_THP_DISABLE = 41  # of Linux's prctl
if hasattr(LIBRARY, "mallinfo2"):
    LIBRARY.mallinfo2.restype = MallInfo


def allocated_bytes() -> float:
    """What malloc has handed out and not got back; NaN where the library does not say."""
    if not hasattr(LIBRARY, "mallinfo2"):
        return math.nan
    info = LIBRARY.mallinfo2()
    return float(info.uordblks + info.hblkhd)


def keep_pages_small() -> None:
    """Or the system makes pages of 2 MB of what is in use when it finds the time."""
    if hasattr(LIBRARY, "prctl"):
        LIBRARY.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


def own_bytes() -> int:
    """Pages of the process's own, in memory or swapped out: counted one by one, not by a tally."""
    rows = (line.split() for line in ROLLUP.read_text(encoding="utf-8").splitlines())
    return sum(int(row[1]) << 10 for row in rows if row[0] in ("Anonymous:", "Swap:"))


def marks(count: int, step: Callable[[], None]) -> dict[str, list[float]]:
    """Calls `step` `count` times, and looks after each tenth of them."""
    names = ("number", "seconds", "own", "allocated")
    found = np.full((MARKS, len(names)), np.nan)  # made before, to leave nothing behind itself
    start = time.perf_counter()
    for number in range(1, count + 1):
        step()
        mark = number * MARKS // count
        if mark > (number - 1) * MARKS // count:
            seconds = time.perf_counter() - start
            found[mark - 1] = number, seconds, own_bytes(), allocated_bytes()
    return dict(zip(names, found.T.tolist(), strict=True))


def main(count: int, folder: Path) -> None:
    keep_pages_small()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    student = Student(StudentConfig(channels=8, head_channels=8, scales=(1, 2, 4))).eval()
    predictor = Predictor(student, torch.device("cpu"))
    spec = DatasetSpec.load("semantic_kitti")

    def scan(num_points: int) -> NDArray[np.float32]:
        """Some of the points are outside the range."""
        low, high = [-55, -55, -3, 0], [55, 55, 1.5, 1]
        return rng.uniform(low, high, size=(num_points, 4)).astype(np.float32)

    def from_memory() -> None:
        predictor(scan(int(rng.integers(MAX_POINTS + 1))))

    def from_files() -> None:
        predict(predictor, spec, folder / "scans", folder / "labels")

    kept = []

    def leaking() -> None:
        points = torch.from_numpy(scan(int(rng.integers(MAX_POINTS + 1))))
        logits, _ = predictor.network(points, torch.zeros(len(points), dtype=torch.int64))
        kept.append(logits)

    for number in range(FILES):
        num_points = MAX_POINTS * number // (FILES - 1)
        write_points(folder / f"scans/{number}.bin", scan(num_points))
    predictor(scan(MAX_POINTS))
    from_files()
    for _ in range(WARM_UP):
        from_memory()
    phases = {
        "network": marks(count, from_memory),
        "files": marks(max(MARKS, count // (10 * FILES)), from_files),
        "leaking": marks(LEAKS, leaking),
    }
    print(json.dumps(phases))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
