"""Points in segments, as the tests of the segment ops need them."""

from __future__ import annotations

import torch
from torch import Tensor

# Points and segments of the sizes that break kernels: none, one, around a warp, several blocks.
SIZES = [(0, 0), (0, 3), (1, 1), (31, 7), (33, 200), (1023, 90), (1023, 1)]

# A float32 sum of a thousand numbers of size 1 differs by this much from one in another order.
SUM_TOLERANCE = {torch.float32: {"rtol": 1e-5, "atol": 1e-4}}


def random_inverse(num_points: int, num_segments: int, seed: int = 0) -> Tensor:
    """Segment of each point: int32 [N]. Some are -1, and with many segments some are empty."""
    generator = torch.Generator().manual_seed(seed)
    inverse = torch.randint(-1, max(num_segments, 0), (num_points,), generator=generator)
    return inverse.int()


def scan_inverse(points: Tensor, voxel_size: float) -> tuple[Tensor, int]:
    """Voxel of each point within 50 m: int32 [N], -1 outside; and the number of voxels."""
    inside = points[:, :3].abs().amax(1) < 50
    cells = torch.floor(points[inside, :3].double() / voxel_size).long()
    voxels, rows = torch.unique(cells, dim=0, return_inverse=True)
    inverse = torch.full((points.shape[0],), -1, dtype=torch.int32)
    inverse[inside] = rows.int()
    return inverse, voxels.shape[0]
