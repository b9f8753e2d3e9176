"""torchsparse's convolution as its releases define it, with a dictionary of coordinates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

Cell = tuple[int, int, int, int]  # batch, x, y, z


def offsets_in_order(size: Sequence[int]) -> list[tuple[int, int, int]]:
    """Numbers from 0 along each axis: x is the fastest of an odd number, else z."""
    if math.prod(size) % 2 == 1:
        return [(x, y, z) for z in range(size[2]) for y in range(size[1]) for x in range(size[0])]
    return list(itertools.product(*map(range, size)))


def convolved(
    cells: dict[Cell, int],
    outputs: Sequence[Cell],
    feats: Tensor,
    weight: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    begin: Sequence[int],
) -> Tensor:
    """Rows of outputs, which meet `stride * output + offset - begin`."""
    rows = []
    for b, *out in outputs:
        row = feats.new_zeros(weight.shape[-1])
        for k, offset in enumerate(offsets_in_order(size)):
            places = zip(out, stride, offset, begin, strict=True)
            met = cells.get((b, *(o * s + i - p for o, s, i, p in places)))
            if met is not None:
                row = row + feats[met] @ weight[k]
        rows.append(row)
    return torch.stack(rows) if rows else feats.new_zeros(0, weight.shape[-1])


def brought_back(
    cells: dict[Cell, int],
    finer: Sequence[Cell],
    feats: Tensor,
    weight: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    begin: Sequence[int],
) -> Tensor:
    """The other way: rows of the finer cells from those of a convolution's outputs."""
    rows = {cell: feats.new_zeros(weight.shape[-1]) for cell in finer}
    for (b, *out), number in cells.items():
        for k, offset in enumerate(offsets_in_order(size)):
            places = zip(out, stride, offset, begin, strict=True)
            met = (b, *(o * s + i - p for o, s, i, p in places))
            if met in rows:
                rows[met] = rows[met] + feats[number] @ weight[k]
    return torch.stack([rows[cell] for cell in finer])


def reached(
    cells: Sequence[Cell], size: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> list[Cell]:
    """2.1: what the dense convolution of the grid that ends with the last cell reaches."""
    last = [max(cell[a + 1] for cell in cells) for a in range(3)]
    first = [min(cell[a + 1] for cell in cells) for a in range(3)]
    ends = [(last[a] + 2 * padding[a] - size[a] + 1) // stride[a] for a in range(3)]
    starts = [0, 0, 0]
    if min(first) < 0:
        starts = [int((first[a] - 2 * padding[a] + size[a] - 1) / stride[a]) for a in range(3)]
    found = set()
    for b, *place in cells:
        for offset in itertools.product(*map(range, size)):
            there = [place[a] + padding[a] - offset[a] for a in range(3)]
            if all(there[a] % stride[a] == 0 for a in range(3)):
                out = [there[a] // stride[a] for a in range(3)]
                if all(starts[a] <= out[a] <= ends[a] for a in range(3)):
                    found.add((b, *out))
    return sorted(found)


def floored(cells: Sequence[Cell], stride: Sequence[int]) -> list[Cell]:
    """The cells of the stride that hold one."""
    return sorted(
        {(b, *(p // s for p, s in zip(place, stride, strict=True))) for b, *place in cells}
    )


def offset_from(cells: Sequence[Cell], size: Sequence[int], stride: Sequence[int]) -> list[Cell]:
    """1.4: what an offset leads to from a cell, in whole strides and not before all cells."""
    first = [min(cell[a + 1] for cell in cells) for a in range(3)]
    ranges = [range(-((n - 1) // 2), n // 2 + 1) for n in size]
    found = set()
    for b, *place in cells:
        for offset in itertools.product(*ranges):
            there = [p + o for p, o in zip(place, offset, strict=True)]
            if all(t % s == 0 and t >= f for t, s, f in zip(there, stride, first, strict=True)):
                found.add((b, *(t // s for t, s in zip(there, stride, strict=True))))
    return sorted(found)


def random_cells(count: int, *, batch: int = 2, low: int = 0, high: int = 7) -> list[Cell]:
    """Cells of some samples, each once, in any order."""
    every = list(itertools.product(range(batch), *[range(low, high)] * 3))
    return [every[i] for i in torch.randperm(len(every))[:count].tolist()]
