import pytest
import torch
from submanifold import scan_with_kernel_map

from elite_ops import group_rows
from elite_ops.reference.group_rows import group_rows as reference

IMPLEMENTATIONS = {"elite_ops": group_rows, "reference": reference}


def products(neighbors, tile):
    """Products of a kernel that works on tiles of rows, over those that are needed."""
    meets = neighbors >= 0
    tiles = torch.nn.functional.pad(meets, (0, -meets.shape[1] % tile)).unflatten(1, (-1, tile))
    return round(float(tiles.any(2).sum() * tile / meets.sum()), 2)


@pytest.mark.benchmark(group="group_rows")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def bench_group_rows(timed, device, implementation, scale):
    name, voxels = scan_with_kernel_map(device, scale)
    moved = 3 * voxels.kernel_map.neighbors.nbytes
    table, grouped = voxels.kernel_map.neighbors, group_rows(voxels.kernel_map).groups.neighbors
    tiles = {f"products_{n}": [products(t, n) for t in (table, grouped)] for n in (16, 64, 128)}
    timed(
        IMPLEMENTATIONS[implementation],
        voxels.kernel_map,
        bytes_moved=moved,
        workload=name,
        voxels=len(voxels.indices),
        **tiles,
    )
