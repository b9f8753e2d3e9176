"""The sum at the end of a block of the student: voxels in buffers for all points."""

import pytest
import torch
from precision import PRECISIONS
from workloads import scan, scan_voxels

from elite_ops import add_rows


def of_all_rows(x, y, num_rows):
    return x + y


IMPLEMENTATIONS = {"elite_ops": add_rows, "torch": of_all_rows}


@pytest.mark.benchmark(group="add_rows")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("voxel_size", [0.1, 0.8])
def bench_add_rows(timed, device, implementation, precision, voxel_size):
    workload, _, num_voxels = scan_voxels(voxel_size)
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, len(scan()[1]), 64, generator=generator).to(
        device, PRECISIONS[precision].dtype
    )
    num_rows = torch.tensor(num_voxels, device=device)
    moved = 3 * num_voxels * 64 * x.element_size()
    timed(IMPLEMENTATIONS[implementation], x, y, num_rows, bytes_moved=moved, workload=workload)
