"""Benchmarks on few points, so that a test of their logic takes no time."""

from collections.abc import Iterator

import pytest
import torch
from workloads import limit_points, scan, scan_labels, scans


def use_first_points(count: int | None) -> None:
    limit_points(count)
    for cached in (scan, scans, scan_labels):
        cached.cache_clear()


@pytest.fixture(scope="module")
def few_points() -> Iterator[int]:
    """The number of points that every scan has while a module's tests run."""
    use_first_points(1000)
    yield 1000
    use_first_points(None)


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
