"""What the authors compute the student with: torch.unique, scatters, gathers, spconv.

Each part is torch's fastest call for it: `index_add` and `index_select` instead of the indexing and
scattering of other packages. `unique_rows` is what the authors do; `unique_keys` is what they
could do; `TorchConvolutions` stand in for spconv where it is missing or not right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from literal_student import Group, Parts, Scale
from torch import Tensor, nn

from elite.student import Student, StudentConfig
from elite_ops import build_kernel_map

__all__ = ["AuthorsParts", "TorchConvolutions", "unique_keys", "unique_rows"]

Unique = Callable[[Tensor, tuple[int, ...]], tuple[Tensor, Tensor, Tensor]]


def unique_rows(rows: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct rows [V, 4] (batch, x, y, z), which of them each row is, and how often each is."""
    return torch.unique(rows, dim=0, return_inverse=True, return_counts=True)


def unique_keys(rows: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """The same by one packed number a row, which sorts many times faster than a row."""
    key = rows[:, 0]
    for axis, size in enumerate(shape):
        key = key * size + rows[:, axis + 1]
    key, inverse, counts = torch.unique(key, return_inverse=True, return_counts=True)
    columns = []
    for size in reversed(shape):
        columns.append(key % size)
        key = key // size
    return torch.stack([key, *reversed(columns)], dim=1), inverse, counts


class IndexedGroup:
    def __init__(self, inverse: Tensor, counts: Tensor) -> None:
        self.inverse, self.counts = inverse, counts

    def mean(self, rows: Tensor) -> Tensor:
        sums = rows.new_zeros(len(self.counts), rows.shape[1]).index_add(0, self.inverse, rows)
        return sums / self.counts[:, None].to(rows.dtype)

    def gather(self, means: Tensor) -> Tensor:
        return means.index_select(0, self.inverse)


class AuthorsScale:
    def __init__(
        self, cells: Tensor, shape: tuple[int, ...], unique: Unique, convolution: Any
    ) -> None:
        self.shape, self.unique = shape, unique
        self.indices, inverse, counts = unique(cells, shape)
        self.points = IndexedGroup(inverse, counts)
        self.convolve = convolution(self.indices, shape)
        self.half: Group | None = None

    def halved(self) -> Group:
        if self.half is None:
            cells = torch.cat([self.indices[:, :1], self.indices[:, 1:] // 2], dim=1)
            _, inverse, counts = self.unique(cells, self.shape)
            self.half = IndexedGroup(inverse, counts)
        return self.half


class AuthorsParts(Parts):
    """The authors' parts: voxels by `unique`, and convolutions.

    Args:
        convolutions: `prepare(student)` puts its layers in, `of_scale(indices, shape, batch_size)`
            returns what applies such a layer to rows at those voxels.
    """

    def __init__(self, unique: Unique, convolutions: Any) -> None:
        self.unique, self.convolutions = unique, convolutions

    def prepare(self, student: Student) -> None:
        self.convolutions.prepare(student)

    def scales(
        self, config: StudentConfig, points: Tensor, batch_index: Tensor, batch_size: int
    ) -> list[Scale]:
        low, high = points.new_tensor(config.point_cloud_range).view(2, 3)

        def scale(size: int) -> AuthorsScale:
            shape = tuple(-(-n // size) for n in config.spatial_shape)
            grid = points.new_tensor(shape)
            cells = (grid * (points[:, :3] - low) / (high - low)).long()
            cells = cells.minimum(grid.long() - 1)  # where rounding reaches the end
            rows = torch.cat([batch_index[:, None], cells], dim=1)
            return AuthorsScale(
                rows, shape, self.unique, lambda *at: self.convolutions.of_scale(*at, batch_size)
            )

        return [scale(size) for size in config.scales]


class TorchConvolutions:
    """Gather, matrix product and index_add of each offset, on this library's kernel map.

    The map costs these contestants next to nothing, so that what they lose by is the formulation.
    """

    def prepare(self, student: Student) -> None:
        """The student's own layers hold the weights."""

    def of_scale(
        self, indices: Tensor, shape: tuple[int, ...], batch_size: int
    ) -> Callable[[nn.Module, Tensor], Tensor]:
        pairs: list[tuple[Tensor, Tensor]] = []

        def convolve(layer: Any, rows: Tensor) -> Tensor:
            if not pairs:
                found = build_kernel_map(
                    indices.int(), spatial_shape=shape, batch_size=batch_size
                ).in_rows
                for neighbors in found:
                    at = torch.nonzero(neighbors >= 0)[:, 0]
                    pairs.append((neighbors[at].long(), at))
            weight = layer.weight.flatten(0, 2)
            out = rows.new_zeros(len(rows), weight.shape[2])
            for (source, target), matrix in zip(pairs, weight, strict=True):
                product = rows.index_select(0, source) @ matrix
                out.index_add_(0, target, product.to(out.dtype))
            return out

        return convolve
