"""Values of places copied to all that belong there."""

from __future__ import annotations

from torch import Tensor

from elite_ops.compat.torch_scatter._groups import build
from elite_ops.compat.torch_scatter._layout import Layout
from elite_ops.ops.voxel_to_point import voxel_to_point

__all__ = ["gather"]


def gather(
    op: str,
    src: Tensor,
    rows: Tensor | None,  # [num_outer * E] int32: the row of `src`, -1 for none
    layout: Layout,
    index: Tensor,
    out: Tensor | None,
) -> Tensor:
    """A result of size E along the layout's dimension; without values, of size 0 or `out`."""
    if rows is None:
        return src.new_zeros(layout.with_size(0)) if out is None else out
    size = src.shape[layout.dim]
    segments = build(op, rows, layout.num_outer * size, index, size)
    if src.is_floating_point():
        copies = voxel_to_point(layout.rows(src), segments)
    else:
        copies = layout.rows(src).index_select(0, rows.clamp(min=0))
    num_results = rows.shape[0] // layout.num_outer
    result = layout.restore(copies, num_results)
    if out is None:
        return result
    return out.copy_(result.where(layout.restore(rows, num_results, channels=False) >= 0, out))
