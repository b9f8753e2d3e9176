"""Every kernel that can compute a convolution, with rows in both orders, for the choice of one.

Each result is compared with float64 before it is timed.
"""

import pytest
import torch
from forced_variant import forced_variant
from precision import PRECISIONS, rms_error
from submanifold import scan_with_kernel_map

from elite_ops import build_info, order_rows
from elite_ops.reference.sparse_conv import sparse_conv as reference

VARIANTS = {
    "table": 0,
    "general": 1,
    "tiles_64": 2,
    "tiles_128": 3,
    "resident": 4,
    "warpgroup_64": 5,
    "warpgroup_128": 6,
    "direct_16": 7,
    "direct_32": 8,
    "direct_16_few": 9,
    "direct_16x8": 10,
    "direct_wide": 11,
    "resident_32": 13,
}


@pytest.mark.benchmark(group="sparse_conv variants")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rows", ["as they are", "ordered"])
@pytest.mark.parametrize("precision", ["fp16", "bf16", "tf32"])
@pytest.mark.parametrize("channels", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("scale", [1, 4])
def bench_variants(timed, device, variant, rows, precision, channels, scale):
    if device.type == "cpu":
        pytest.skip("not needed: the CPU has one way")
    if reason := why_not(variant, precision, channels, device):
        pytest.skip(f"not available: {reason}")
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


def why_not(variant: str, precision: str, channels: int, device: torch.device) -> str | None:
    """What keeps a variant from computing this, if anything does."""
    if variant.startswith("direct"):
        return None if precision == "fp16" or variant == "direct_32" else "float16 only"
    if variant not in ("resident", "resident_32", "warpgroup_64", "warpgroup_128"):
        return None
    if precision == "tf32":
        return "16-bit types only"
    if variant.startswith("resident"):
        return None if fits_in_shared_memory(channels) else "the weights don't fit in shared memory"
    if channels % 64 != 0:
        return "channels in multiples of 64 only"
    if torch.cuda.get_device_capability(device) != (9, 0):
        return "devices of compute capability 9.0 only"
    if "9.0a" not in str(build_info()["cuda_architectures"]):
        return "built without 9.0a in TORCH_CUDA_ARCH_LIST"
    return None


def fits_in_shared_memory(channels: int) -> bool:
    """Whether a block can hold all weights of 64 output channels in 16 bits."""
    return 27 * channels * 64 * 2 < 225_000
