"""From logits to one label per point, also where the network has none."""

from __future__ import annotations

import torch

__all__ = ["nearest_rows", "point_labels"]

CHUNK = 64  # queries that share one set of candidates
COARSE_STRIDE = 64
MARGIN = 1.001  # of the bound, for its rounding


def point_labels(
    logits: torch.Tensor,  # [N, C]
    valid: torch.Tensor,  # [N] bool
    points: torch.Tensor,  # [N, 3 + F]
    batch_index: torch.Tensor,  # [N] int64
) -> torch.Tensor:  # [N] int64
    """The most likely class of each point, never class 0.

    A point outside the network's range takes the label of the nearest point of its scan that is
    inside. Where a whole scan is outside, nothing is known: its labels are 0.
    """
    labels = logits[:, 1:].argmax(dim=1) + 1
    labels[~valid] = 0
    for scan in set(batch_index[~valid].tolist()):
        rows = batch_index == scan
        outside, inside = (rows & ~valid).nonzero()[:, 0], (rows & valid).nonzero()[:, 0]
        if len(inside):
            nearest = nearest_rows(points[outside, :3], points[inside, :3])
            labels[outside] = labels[inside[nearest]]
    return labels


def nearest_rows(
    queries: torch.Tensor,  # [Q, 3], metres
    candidates: torch.Tensor,  # [M, 3], M > 0
) -> torch.Tensor:  # [Q] int64
    """The row of `candidates` nearest to each query; NaN counts as 0.

    Brute force on few candidates: queries that lie in about the same direction go together, and the
    distance to a coarse subset of the candidates bounds the box in which the nearest must lie.
    """
    if not len(queries):
        return queries.new_empty(0, dtype=torch.int64)
    queries = queries.nan_to_num(posinf=0.0, neginf=0.0)
    coarse = candidates[::COARSE_STRIDE]
    nearest = torch.empty(len(queries), dtype=torch.int64, device=queries.device)
    by_direction = torch.atan2(queries[:, 1], queries[:, 0]).argsort()
    for rows in torch.split(by_direction, CHUNK):
        chunk = queries[rows]
        bound = _distances(chunk, coarse).amin(dim=1, keepdim=True) * MARGIN
        low, high = (chunk - bound).amin(dim=0), (chunk + bound).amax(dim=0)
        boxed = ((candidates >= low) & (candidates <= high)).all(dim=1).nonzero()[:, 0]
        nearest[rows] = boxed[_distances(chunk, candidates[boxed]).argmin(dim=1)]
    return nearest


def _distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    # The matrix-product form of cdist loses centimetres at 80 m.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
