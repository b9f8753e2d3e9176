"""Kernel maps by brute force, and the dense grids that they stand for."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from elite_ops import KernelGeometry, KernelMap

SHAPE = (7, 6, 5)
BATCH_SIZE = 2


class Tables(KernelMap):
    """A kernel map of two tables, whatever the geometry."""

    def __init__(self, in_rows: Tensor, out_rows: Tensor, symmetric: bool) -> None:
        super().__init__(
            in_rows,
            out_rows.shape[1],
            KernelGeometry.of(1),
            symmetric=symmetric,
            out_rows=out_rows,
        )

    def to(self, device: torch.device) -> Tables:
        in_rows = self.in_rows.to(device)
        out_rows = in_rows if self.symmetric else self.out_rows.to(device)
        return Tables(in_rows, out_rows, self.symmetric)


class Geometry(NamedTuple):
    kernel_size: tuple[int, int, int]
    stride: tuple[int, int, int] = (1, 1, 1)
    padding: tuple[int, int, int] = (0, 0, 0)
    dilation: tuple[int, int, int] = (1, 1, 1)

    @property
    def arguments(self) -> dict[str, tuple[int, int, int]]:
        """As torch's dense convolutions take them."""
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    def out_shape(self) -> tuple[int, ...]:
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        sizes = zip(SHAPE, spans, self.stride, self.padding, strict=True)
        return tuple((n + 2 * p - span) // s + 1 for n, span, s, p in sizes)


SUBMANIFOLD = Geometry((3, 3, 3), padding=(1, 1, 1))
GEOMETRIES = [
    SUBMANIFOLD,
    Geometry((3, 1, 3), padding=(2, 0, 2), dilation=(2, 1, 2)),
    Geometry((2, 2, 2), stride=(2, 2, 2)),
    Geometry((3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1)),
    Geometry((3, 1, 2), stride=(2, 1, 1), padding=(1, 0, 1)),
    Geometry((1, 3, 2), stride=(1, 2, 1), dilation=(1, 1, 2)),
]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_indices(size: int, seed: int = 0) -> Tensor:
    """`size` different voxels [V, 4] of a small grid, in random order."""
    cells = torch.randperm(BATCH_SIZE * SHAPE[0] * SHAPE[1] * SHAPE[2], generator=generator(seed))
    axes = torch.unravel_index(cells[:size], (BATCH_SIZE, *SHAPE))
    return torch.stack(axes, 1).int()


def map_between(inputs: Tensor, outputs: Tensor, geometry: Geometry) -> Tables:
    """Output cell o meets input cell `o * stride - padding + k * dilation` under offset k."""
    row_of = {tuple(cell): row for row, cell in enumerate(inputs.tolist())}
    offsets = list(itertools.product(*map(range, geometry.kernel_size)))
    in_rows = torch.full((len(offsets), len(outputs)), -1, dtype=torch.int32)
    out_rows = torch.full((len(offsets), len(inputs)), -1, dtype=torch.int32)
    for i, (batch, *cell) in enumerate(outputs.tolist()):
        for k, offset in enumerate(offsets):
            parts = zip(cell, offset, *geometry[1:], strict=True)
            j = row_of.get((batch, *(o * s - p + at * d for o, at, s, p, d in parts)))
            if j is not None:
                in_rows[k, i], out_rows[k, j] = j, i
    return Tables(in_rows, out_rows, symmetric=False)


def submanifold_map(indices: Tensor) -> Tables:
    """From voxels to themselves; the second table is the first, read backwards."""
    tables = map_between(indices, indices, SUBMANIFOLD)
    assert torch.equal(tables.out_rows, tables.in_rows.flip(0))
    return Tables(tables.in_rows, tables.in_rows, symmetric=True)


def all_cells(shape: tuple[int, ...]) -> Tensor:
    """Every cell of every sample [B * X * Y * Z, 4], in the order of a dense grid."""
    sides = [torch.arange(size) for size in (BATCH_SIZE, *shape)]
    return torch.cartesian_prod(*sides).int()


def map_into_all_cells(indices: Tensor, geometry: Geometry) -> Tables:
    """To every cell of the output, those included that meet no input."""
    return map_between(indices, all_cells(geometry.out_shape()), geometry)


def random_tables(num_in: int, num_out: int, num_offsets: int) -> Tables:
    """Two rows meet under one offset at most; some rows meet nothing."""
    in_rows = torch.full((num_offsets, num_out), -1, dtype=torch.int32)
    out_rows = torch.full((num_offsets, num_in), -1, dtype=torch.int32)
    for k in range(num_offsets if num_in and num_out else 0):
        rows_out = torch.randperm(num_out, generator=generator(k))[: num_out * 2 // 3]
        rows_in = (rows_out * 3 + k) % num_in
        for i, j in zip(rows_out.tolist(), rows_in.tolist(), strict=True):
            if out_rows[k, j] < 0 and not (in_rows[:, i] == j).any():
                in_rows[k, i], out_rows[k, j] = j, i
    return Tables(in_rows, out_rows, symmetric=False)


def real_tables(points: Tensor) -> Tables:
    """The 3 x 3 x 3 map of the 0.1 m voxels of a scan, by search in a sorted list."""
    near = points[(points[:, :2].abs() < 50).all(1) & (points[:, 2] > -4) & (points[:, 2] < 2), :3]
    cells = torch.unique(torch.floor((near + torch.tensor([50.0, 50.0, 4.0])) * 10).long(), dim=0)
    steps = torch.tensor([2**32, 2**16, 1])
    keys = ((cells + 1) * steps).sum(1)
    rows = []
    for offset in itertools.product((-1, 0, 1), repeat=3):
        wanted = keys + (torch.tensor(offset) * steps).sum()
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        rows.append(torch.where(keys[place] == wanted, place, -1))
    table = torch.stack(rows).int()
    return Tables(table, table, symmetric=True)


def dense(rows: Tensor, indices: Tensor, fill: float = 0.0) -> Tensor:
    """The grid [B, C, X, Y, Z] that holds `rows` [V, C] at their voxels, and `fill` elsewhere."""
    grid = rows.new_full((BATCH_SIZE, *SHAPE, rows.shape[1]), fill)
    return grid.index_put(tuple(indices.long().T), rows).permute(0, 4, 1, 2, 3)


def rows_of(grid: Tensor) -> Tensor:
    """A dense grid [B, C, X, Y, Z] as rows in the order of `all_cells`."""
    return grid.permute(0, 2, 3, 4, 1).flatten(0, 3)


def with_gradients(out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    grad_out = torch.randn(out.shape, generator=generator(9), dtype=torch.float64)
    return (out, *torch.autograd.grad(out, inputs, grad_out.to(out)))
