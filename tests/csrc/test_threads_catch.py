"""Each fault of threads/faults.cpp is noticed, and its repaired twin passes."""

import re
from pathlib import Path

import pytest
from threaded import build, run_threads

RACE = "data race"
BITS = "has other bits"
# How a fault shows, and under which sanitizer.
FAULTS = {
    "sum_without_lock": ("tsan", RACE),
    "one_row_too_many": ("tsan", RACE),
    "reads_the_next_range": ("tsan", RACE),
    "plain_flag": ("tsan", RACE),
    "table_made_at_first_use": ("tsan", RACE),
    "scratch_of_all_callers": ("tsan", RACE),
    "sum_by_range": ("tsan", BITS),
    "grain_larger_than_the_input": ("tsan", "stayed whole"),
    "more_ranges_than_places": ("asan", "heap-buffer-overflow"),
    "scratch_is_not_freed": ("asan", "detected memory leaks"),
    "sum_of_32_bits": ("asan", "signed integer overflow"),
}


@pytest.fixture(scope="session")
def built() -> Path:
    return build("tsan/faults", "asan/faults")


def test_every_fault_has_an_expectation() -> None:
    source = (Path(__file__).parent / "threads/faults.cpp").read_text(encoding="utf-8")
    assert set(re.findall(r"^FAULT\((\w+)\)", source, re.MULTILINE)) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_caught(built: Path, fault: str) -> None:
    sanitizer, message = FAULTS[fault]
    done = run_threads(built / sanitizer / "faults", fault)
    assert done.returncode not in (0, 2)
    assert message in done.stderr


@pytest.mark.parametrize("fault", FAULTS)
def test_repaired_loop_passes(built: Path, fault: str) -> None:
    done = run_threads(built / FAULTS[fault][0] / "faults", f"{fault}_repaired")
    assert done.returncode == 0, done.stderr
