import pytest
import torch
from workloads import scan_voxels

from elite_ops import linear_fused
from elite_ops.reference.linear_fused import linear_fused as reference


@pytest.mark.benchmark(group="linear_fused")
@pytest.mark.parametrize("implementation", ["elite_ops", "reference"])
@pytest.mark.parametrize(("c_in", "c_out"), [(10, 64), (64, 64), (64, 128), (128, 20)])
def bench_linear_fused(timed, device, implementation, c_in, c_out):
    """Rows of voxels, with what their coarser voxels add."""
    workload, coarse_of_point, num_coarse = scan_voxels(voxel_size=0.2)
    rows = coarse_of_point[::2].contiguous().to(device)  # about as many as there are fine voxels
    features = torch.randn(len(rows), c_in, device=device)
    weight = torch.randn(c_in, c_out, device=device)
    bias = torch.randn(c_out, device=device)
    residual = torch.randn(num_coarse, c_out, device=device)
    call = {"elite_ops": linear_fused, "reference": reference}[implementation]
    timed(
        lambda: call(features, weight, bias, residuals=[(residual, rows)], negative_slope=0.1),
        flop=2.0 * len(rows) * c_in * c_out,
        workload=workload,
        rows=len(rows),
        channels=(c_in, c_out),
    )
