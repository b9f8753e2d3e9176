"""Runs each kernel of the convolution once, for a profiler to count what it does.

    ncu --profile-from-start off --csv --page details --log-file FILE \
      python tools/gpu/counted_kernels.py [--channels 64] [--scale 1] [--match rows]

A 3 x 3 x 3 submanifold convolution of a scan in float16, rows as they are and ordered. Standard
output names the launches in the order in which they stand in the profiler's file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch
from bench_sparse_conv_variants import VARIANTS
from forced_variant import forced_variant
from submanifold import scan_with_kernel_map

from elite_ops import order_rows

WARM_UP = 3


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--match", default="", help="what a kernel's name has to contain")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit("counted_kernels: torch finds no CUDA device")
    device, channels = torch.device("cuda"), options.channels
    name, voxels = scan_with_kernel_map(device, options.scale)
    kernel_map = voxels.submanifold_map()
    order = order_rows(kernel_map).row_order
    assert order is not None
    shapes = [(kernel_map.num_in, channels), (27, channels, channels), (channels,)]
    inputs = [torch.randn(shape, device=device, dtype=torch.float16) for shape in shapes]
    print(f"{name}, {kernel_map.num_in} voxels, {channels} channels, float16")
    for rows, ordered in (("as they are", ()), ("ordered", (order.order, order.in_rows))):
        for variant, number in VARIANTS.items():
            if options.match not in variant or variant in ("chosen", "general"):
                continue

            def convolve(ordered: Sequence[torch.Tensor] = ordered) -> None:
                op = torch.ops.elite_ops.sparse_conv_fused
                op(*inputs, kernel_map.in_rows, None, 1.0, *ordered)

            with forced_variant(number):
                for _ in range(WARM_UP):
                    convolve()
                torch.cuda.synchronize()
                torch.cuda.cudart().cudaProfilerStart()
                convolve()
                torch.cuda.synchronize()
                torch.cuda.cudart().cudaProfilerStop()
            print(f"{variant}, rows {rows}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
