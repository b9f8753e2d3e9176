"""Every kernel that can compute a convolution, with rows in both orders, for the choice of one.

Each result is compared with float64 before it is timed.
"""

import pytest
import torch
from workloads import POINT_CLOUD_RANGE, SPATIAL_SHAPE, scan

from elite_ops import group_rows, voxelize
from elite_ops.reference.sparse_conv import sparse_conv as reference

VARIANTS = {"table": 0, "general": 1, "tiles_64": 2, "tiles_128": 3, "resident": 4}
# the largest error, relative to the norm of the result; float32 goes through TF32
DTYPES = {torch.float16: 1e-3, torch.bfloat16: 5e-3, torch.float32: 1e-3}


@pytest.mark.benchmark(group="sparse_conv variants")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rows", ["as they are", "grouped"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("scale", [1, 4])
def bench_variants(timed, device, monkeypatch, variant, rows, dtype, channels, scale):
    if device.type == "cpu":
        pytest.skip("the CPU has one way")
    fits = dtype != torch.float32 and 27 * channels * min(channels, 32) * 2 < 120_000
    if variant == "resident" and not fits:
        pytest.skip("the weights don't fit in shared memory")
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", True)
    name, points = scan()
    (voxels,) = voxelize(
        points.to(device),
        point_cloud_range=POINT_CLOUD_RANGE,
        spatial_shape=SPATIAL_SHAPE,
        scales=(scale,),
        kernel_size=3,
    )
    table = voxels.kernel_map.neighbors
    groups = group_rows(voxels.kernel_map).groups
    order = (groups.order, groups.neighbors) if rows == "grouped" else (None, None)
    generator = torch.Generator().manual_seed(0)
    shapes = [(table.shape[1], channels), (27, channels, channels), (channels,)]
    inputs = [torch.randn(s, generator=generator).to(device, dtype) for s in shapes]
    op = torch.ops.elite_ops.sparse_conv_fused
    pairs = int((table >= 0).sum())

    def convolve():
        return op(*inputs, table, None, 1.0, *order, VARIANTS[variant])

    features, weight, bias = (tensor.double() for tensor in inputs)
    expected = reference(features, weight, voxels.kernel_map, bias)
    assert (convolve() - expected).norm() < DTYPES[dtype] * expected.norm()
    timed(
        convolve,
        flop=2 * pairs * channels * channels,
        workload=name,
        voxels=table.shape[1],
        pairs=pairs,
    )
