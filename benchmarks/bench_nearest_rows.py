"""nearest_rows as prediction calls it: points outside the network's range, among those inside."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from workloads import POINT_CLOUD_RANGE, scan

from elite_ops import nearest_rows
from elite_ops.reference.nearest_rows import nearest_rows as reference

CHUNK = 64  # queries


def by_cdist(queries: Tensor, candidates: Tensor) -> Tensor:
    """torch's distances; their matrix-product form loses centimetres at 80 m."""
    mode = "donot_use_mm_for_euclid_dist"
    chunks = torch.split(queries, CHUNK)
    return torch.cat([torch.cdist(c, candidates, compute_mode=mode).argmin(dim=1) for c in chunks])


IMPLEMENTATIONS = {"elite_ops": nearest_rows, "torch.cdist": by_cdist, "reference": reference}


@pytest.mark.benchmark(group="nearest_rows")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_nearest_rows(timed, device, implementation):
    name, points = scan()
    xyz, bounds = points[:, :3].to(device), torch.tensor(POINT_CLOUD_RANGE, device=device)
    inside = ((xyz > bounds[:3]) & (xyz < bounds[3:])).all(dim=1)
    queries, candidates = xyz[~inside], xyz[inside]
    timed(
        IMPLEMENTATIONS[implementation],
        *(queries, candidates),
        bytes_moved=queries.nbytes + candidates.nbytes + 8 * len(queries),
        workload=name,
        queries=len(queries),
        candidates=len(candidates),
    )
