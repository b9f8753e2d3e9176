"""Linear maps of the student with what they add, against torch's products, gathers and sums."""

import pytest
import torch
from precision import PRECISIONS, rms_error
from workloads import scan_voxels

from elite_ops import linear_fused
from elite_ops.reference.linear_fused import linear_fused as reference


@pytest.mark.benchmark(group="linear_fused")
@pytest.mark.parametrize("implementation", ["elite_ops", "reference"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("c_in", "c_out"), [(10, 64), (64, 64), (64, 128), (128, 24)])
def bench_linear_fused(timed, device, implementation, precision, c_in, c_out):
    """Rows of voxels, with what their coarser voxels add."""
    if device.type == "cpu" and precision != "fp32":
        pytest.skip("not needed: the CPU computes in float32")
    rounding = PRECISIONS[precision]
    workload, coarse_of_point, num_coarse = scan_voxels(voxel_size=0.2)
    rows = coarse_of_point[::2].contiguous().to(device)  # about as many as there are fine voxels
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(rows), c_in), (c_in, c_out), (c_out,), (num_coarse, c_out)]
    inputs = [torch.randn(s, generator=generator).to(device, rounding.dtype) for s in shapes]

    def call(function, features, weight, bias, residual):
        return function(features, weight, bias, residuals=[(residual, rows)], negative_slope=0.1)

    function = {"elite_ops": linear_fused, "reference": reference}[implementation]
    with rounding.set():
        error = rms_error(call(function, *inputs), call(reference, *(t.double() for t in inputs)))
        assert implementation == "reference" or error <= rounding.limit
        timed(
            lambda: call(function, *inputs),
            flop=2.0 * len(rows) * c_in * c_out,
            workload=workload,
            rows=len(rows),
            channels=(c_in, c_out),
            rms_error=error,
        )
