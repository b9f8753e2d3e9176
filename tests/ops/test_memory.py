"""The pool that CPU results come from."""

from threading import Thread

import pytest
import torch
from torch import Tensor

from elite_ops import cpu_memory, empty_cpu_cache, linear_fused

pytestmark = pytest.mark.cpu_kernels("of the CPU's memory pool")

ROWS = 3000  # of 64 floats: 750 KiB


def product(value: float, rows: int = ROWS) -> Tensor:
    return linear_fused(torch.full((rows, 64), float(value)), torch.eye(64))


@pytest.fixture(autouse=True)
def no_memory_of_other_tests() -> None:
    empty_cpu_cache()


def test_memory_is_handed_out_again() -> None:
    place = product(1).data_ptr()
    before = cpu_memory()
    again = product(2, rows=ROWS - 100)
    assert again.data_ptr() == place
    assert again.eq(2).all()
    assert cpu_memory().allocations == before.allocations
    assert cpu_memory().kept < before.kept


def test_memory_that_is_seen_is_not_handed_out() -> None:
    seen = [product(0)[5:9], product(1).T, torch.as_tensor(product(2).numpy())]
    product(9)
    for value, view in enumerate(seen):
        assert view.eq(value).all()


def test_holds_at_most_twice_what_was_in_use_at_once() -> None:
    before = cpu_memory().in_use
    sizes = [ROWS // 4 * 2**i for i in range(7)]
    for rows in [*sizes, *sizes]:
        product(1, rows)
    largest = sizes[-1] * 64 * 4
    assert cpu_memory().in_use == before
    assert largest <= cpu_memory().kept <= 2 * 1.125 * largest + 2**20  # and the op's scratch


def test_sizes_that_take_turns_are_not_allocated_again() -> None:
    sizes = [ROWS, 16 * ROWS, 3 * ROWS, 7 * ROWS]
    for rows in sizes:
        product(1, rows)
    allocations = cpu_memory().allocations
    for rows in [*sizes, *reversed(sizes)]:
        product(1, rows)
    assert cpu_memory().allocations == allocations


def test_gives_back_what_it_keeps() -> None:
    alive = product(1)
    product(2)
    empty_cpu_cache()
    assert cpu_memory().kept == 0
    assert cpu_memory().in_use >= alive.nbytes
    assert alive.eq(1).all()


def test_a_small_block_does_not_take_a_large_one() -> None:
    product(1, 16 * ROWS)
    kept = cpu_memory().kept
    small = product(1)
    assert cpu_memory().kept > kept - 16 * small.nbytes


def test_results_can_be_resized() -> None:
    out = product(3)
    assert out.resize_(2 * ROWS, 64)[:ROWS].eq(3).all()


def test_threads_share_it() -> None:
    wrong = []

    def work(value: int) -> None:
        for i in range(200):
            out = product(value, ROWS // 10 + i)
            if not out.eq(value).all():
                wrong.append(value)

    threads = [Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
