"""What the device can do at best: how fast it copies, multiplies matrices, and multiplies and adds.

The fractions of the roofline in docs/performance.md refer to the first two; the last is the peak of
a CPU's cores in float32, on numbers that never leave their registers.
"""

import os

import multiply_add
import pytest
import torch
from precision import PRECISIONS

COPIED_BYTES = {"cpu": 2**28, "cuda": 2**30}
MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}


@pytest.mark.benchmark(group="limits: copy")
def bench_copy(timed, device):
    source = torch.ones(COPIED_BYTES[device.type] // 4, device=device)
    target = torch.empty_like(source)
    timed(target.copy_, source, bytes_moved=2 * source.nbytes)


@pytest.mark.benchmark(group="limits: matrix product")
@pytest.mark.parametrize("precision", PRECISIONS)
def bench_matrix_product(timed, device, precision):
    if device.type == "cpu" and precision != "fp32":
        pytest.skip("not needed: the CPU computes in float32")
    size, rounding = MATRIX_SIZE[device.type], PRECISIONS[precision]
    a, b = (torch.randn(size, size, device=device).to(rounding.dtype) for _ in range(2))
    out = torch.empty_like(a)
    with rounding.set():
        timed(lambda: torch.mm(a, b, out=out), flop=2 * size**3)


@pytest.mark.benchmark(group="limits: multiply-add")
def bench_multiply_add(timed, device):
    if device.type != "cpu":
        pytest.skip("not needed: a GPU's limit is its matrix product")
    try:
        library = multiply_add.compiled()
    except (OSError, RuntimeError) as error:
        pytest.skip(f"missing: multiply_add.cpp: {error}")
    threads = min(torch.get_num_threads(), os.cpu_count() or 1)
    flop = multiply_add.flop(library, threads)
    timed(lambda: multiply_add.run(library, threads), flop=flop)
