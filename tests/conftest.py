"""Fixtures that every test may use: the devices at hand, and real scans where they are."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Before torch is imported, as the commands do: an idle thread that spins takes a core from others.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

import numpy as np
import pytest
import torch

from elite_ops import _C, check_device_errors

DATA = Path(os.environ.get("ELITE_DATA", Path(__file__).parents[2] / "shared" / "data"))
SCANS = {
    "semantickitti": "semantickitti/sequences/00/velodyne/000000.bin",
    "kitti": "kitti/sequences/90/velodyne/000000.bin",
}


# In this build, the ops of CPU tensors run CUDA kernels, emulated on the host.
EMULATED = _C.emulates_cuda
CUDA = pytest.param("cuda", marks=pytest.mark.gpu)


def pytest_report_header() -> str:
    return "elite_ops: " + ("CUDA kernels emulated on the host" if EMULATED else str(_C.__file__))


def cuda_device() -> torch.device:
    if EMULATED:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")


@pytest.fixture(params=[CUDA] if EMULATED else ["cpu", CUDA])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device an op runs on; the CUDA variant is skipped, and counted, where there is none."""
    return cuda_device() if request.param == "cuda" else torch.device("cpu")


@pytest.fixture
def cuda() -> torch.device:
    """Where CUDA kernels run: a GPU, or the emulated device."""
    return cuda_device()


@pytest.fixture(autouse=True)
def nothing_is_reported() -> Iterator[None]:
    """A test that expects an error of CUDA kernels takes it; no other leaves one to the next."""
    yield
    check_device_errors()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fixtures draw the same random numbers whatever ran before them."""
    torch.manual_seed(0)
    if EMULATED and (marker := item.get_closest_marker("cpu_kernels")):
        pytest.skip(marker.args[0] if marker.args else "of the CPU's kernels")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """And so do tests, whether their fixtures were made for them or for others."""
    torch.manual_seed(1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real sensor data: $ELITE_DATA, or `shared/data` beside the checkout."""
    if not DATA.is_dir():
        pytest.skip(f"no real scans at {DATA} (set ELITE_DATA)")
    return DATA


@pytest.fixture(scope="session")
def real_points(data_folder: Path) -> torch.Tensor:
    """One real HDL-64E scan: float32 [N, 4], x y z remission."""
    points = np.fromfile(data_folder / SCANS["semantickitti"], dtype="<f4").reshape(-1, 4)
    return torch.from_numpy(points)


def use_first_points(count: int | None) -> None:
    from workloads import limit_points, scan, scan_labels, scans

    limit_points(count)
    for cached in (scan, scans, scan_labels):
        cached.cache_clear()


@pytest.fixture(scope="module")
def few_points() -> Iterator[int]:
    """The number of points of every scan of the benchmarks while a module tests their logic."""
    use_first_points(1000)
    yield 1000
    use_first_points(None)


@pytest.fixture
def many_points(few_points: int) -> Iterator[int]:
    """Enough for their memory to be told from nothing."""
    use_first_points(20_000)
    yield 20_000
    use_first_points(few_points)


def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    yield from threads(1)


@pytest.fixture
def two_threads() -> Iterator[None]:
    yield from threads(2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what was skipped and why, in one line a reason."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason}")
