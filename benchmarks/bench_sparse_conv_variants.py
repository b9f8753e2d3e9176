"""Every kernel that can compute a convolution, with rows in both orders, for the choice of one.

Each result is compared with float64 before it is timed.
"""

import pytest
import torch
from forced_variant import forced_variant
from precision import PRECISIONS, rms_error
from submanifold import scan_with_kernel_map

from elite_ops import order_rows
from elite_ops.reference.sparse_conv import sparse_conv as reference

VARIANTS = {"chosen": 0, "general": 1, "rows_16": 2, "rows_32": 3}


@pytest.mark.benchmark(group="sparse_conv variants")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rows", ["as they are", "ordered"])
@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32"])
@pytest.mark.parametrize("channels", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("scale", [1, 4])
def bench_variants(timed, device, variant, rows, precision, channels, scale):
    if device.type == "cpu":
        pytest.skip("not needed: the CPU has one way")
    if variant == "rows_16" and precision == "tf32":
        pytest.skip("not available: 16-bit types only")
    name, voxels = scan_with_kernel_map(device, scale)
    kernel_map = voxels.submanifold_map()
    table = kernel_map.in_rows
    order = order_rows(kernel_map).row_order if rows == "ordered" else None
    ordered = (None, None) if order is None else (order.order, order.in_rows)
    generator = torch.Generator().manual_seed(0)
    shapes = [(table.shape[1], channels), (27, channels, channels), (channels,)]
    rounding = PRECISIONS[precision]
    inputs = [torch.randn(s, generator=generator).to(device, rounding.dtype) for s in shapes]
    features, weight, bias = (tensor.double() for tensor in inputs)
    expected = reference(features, weight, kernel_map, bias)

    def convolve():
        op = torch.ops.elite_ops.sparse_conv_fused
        return op(*inputs, table, None, 1.0, *ordered)

    pairs = int((table >= 0).sum())
    with rounding.set(), forced_variant(VARIANTS[variant]):
        error = rms_error(convolve(), expected)
        assert error <= rounding.limit
        timed(
            convolve,
            flop=2 * pairs * channels * channels,
            workload=name,
            voxels=table.shape[1],
            pairs=pairs,
            rms_error=error,
        )
