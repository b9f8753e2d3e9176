"""What the emulation is for: each fault of faults.cu is noticed, and its repaired twin passes."""

import re
from pathlib import Path

import pytest
from programs import ORDERS, ROOT, make, run

# How a fault shows: the message, in the orders that show it. Where they are not both named, the
# other order happens to give the right result, which is why every test runs in both.
WRONG = "wrong result"
STUCK = "is stuck: a barrier was not reached"
FAULTS = {
    "no_block_barrier": (WRONG, ORDERS),
    "no_barrier_before_reuse": (WRONG, ORDERS),
    "no_warp_barrier": (WRONG, ORDERS),
    "static_shared_overflow": ("global-buffer-overflow", ORDERS),
    "dynamic_shared_overflow": ("heap-buffer-overflow", ORDERS),
    "global_overflow": ("heap-buffer-overflow", ORDERS),
    "local_overflow": ("stack-buffer-(over|under)flow", ORDERS),
    "divergent_barrier": (STUCK, ORDERS),
    "return_before_barrier": (STUCK + r"(.|\n)*exited", ORDERS),
    "two_barriers_for_one": (STUCK, ORDERS),
    "lane_missing_from_shuffle": (STUCK + r"(.|\n)*mask 0xffffffff", ORDERS),
    "shuffle_from_outside_the_mask": ("not in the mask", ORDERS),
    "order_of_atomics": (WRONG, ("reversed",)),
    "shared_memory_taken_for_zero": (WRONG, ORDERS),
    "misaligned_vector": ("misaligned address", ORDERS),
    "copy_without_wait": (WRONG, ORDERS),
    "copy_without_commit": (WRONG, ORDERS),
    "copy_over_what_is_read": (WRONG, ORDERS),
    "too_much_shared_memory": ("launch: invalid argument", ORDERS),
    "lowered_shared_memory": ("lowered from 102400 to 51200 bytes", ORDERS),
}


@pytest.fixture(scope="session")
def program() -> Path:
    path = Path("build") / "emulated" / "faults"
    make(path)
    return ROOT / path


def test_every_fault_has_an_expectation(program: Path) -> None:
    assert set(run(program).stdout.split()) == set(FAULTS)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_caught(program: Path, fault: str, order: str) -> None:
    message, orders = FAULTS[fault]
    done = run(program, fault, **ORDERS[order])
    if order in orders:
        assert done.returncode != 0
        assert re.search(message, done.stderr), done.stderr
    else:
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_repaired_kernel_passes(program: Path, fault: str, order: str) -> None:
    done = run(program, fault, "correct", **ORDERS[order])
    assert done.returncode == 0, done.stderr
