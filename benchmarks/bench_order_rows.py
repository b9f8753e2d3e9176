import pytest
import torch
from submanifold import scan_with_kernel_map

from elite_ops import order_rows
from elite_ops.reference.order_rows import order_rows as reference

IMPLEMENTATIONS = {"elite_ops": order_rows, "reference": reference}


def products(in_rows, tile):
    """Products of a kernel that works on tiles of rows, over those that are needed."""
    meets = in_rows >= 0
    tiles = torch.nn.functional.pad(meets, (0, -meets.shape[1] % tile)).unflatten(1, (-1, tile))
    return round(float(tiles.any(2).sum() * tile / meets.sum()), 2)


@pytest.mark.benchmark(group="order_rows")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def bench_order_rows(timed, device, implementation, scale):
    name, voxels = scan_with_kernel_map(device, scale)
    kernel_map = voxels.submanifold_map()
    tables = kernel_map.in_rows, order_rows(kernel_map).row_order.in_rows
    tiles = {f"products_{n}": [products(t, n) for t in tables] for n in (16, 64, 128)}
    timed(
        IMPLEMENTATIONS[implementation],
        kernel_map,
        bytes_moved=3 * kernel_map.in_rows.nbytes,
        workload=name,
        voxels=len(voxels.indices),
        **tiles,
    )
