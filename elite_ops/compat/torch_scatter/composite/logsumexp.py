"""The logarithm of the sum of exponentials of each place."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.compat.torch_scatter._groups import floating_groups
from elite_ops.ops.segment_softmax import segment_logsumexp

__all__ = ["scatter_logsumexp"]


def scatter_logsumexp(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    eps: float = 1e-12,
) -> Tensor:
    """The logarithm of the sum of the exponentials of each place; 0 where there are none.

    Args:
        src, index, dim, dim_size: as of `scatter`; `src` is floating.
        out: logarithms whose exponentials are added, in place; where there is no value they stay.
        eps: what torch_scatter adds to each sum, which is 1 or more; here nothing is added.

    Raises:
        ValueError: if `src` is not floating; and what `scatter` raises.

    *Differentiable:* in `src`, twice. *Sync:* as `scatter`. *Deterministic:* yes.
    """
    groups = floating_groups("scatter_logsumexp", src, index, dim, out, dim_size)
    if src.numel() == 0:
        return src.new_zeros(groups.layout.with_size(groups.size)) if out is None else out
    sums = groups.restore(segment_logsumexp(groups.layout.rows(src), groups.segments))
    if out is None:
        return sums.masked_fill(sums == -torch.inf, 0)
    return out.copy_(torch.logaddexp(out, sums))
