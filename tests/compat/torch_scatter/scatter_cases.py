"""Values, indices, and what reductions of them are, value by value."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import torch
from torch import Tensor

# Shapes of values, of an index, and the dimension: broadcast on either side, or not at all.
SHAPES = [
    ((40,), (40,), 0),
    ((40, 5), (40,), 0),
    ((40, 5), (40, 1), 0),
    ((5, 40), (40,), 1),
    ((5, 40), (40,), -1),
    ((5, 40), (5, 40), 1),
    ((40, 5), (40, 5), 0),
    ((3, 20, 4), (20,), 1),
    ((3, 20, 4), (3, 20), 1),
    ((3, 20, 4), (3, 20, 1), -2),
    ((3, 20, 4), (1, 20, 4), 1),
    ((3, 4, 20), (3, 4, 20), -1),
    ((20, 3, 4), (20, 3, 4), 0),
    ((20, 3, 4), (20, 1, 4), 0),
]

Place = tuple[int, ...]


def spread(index: Tensor, shape: tuple[int, ...], dim: int) -> Tensor:
    """The index in the shape of the values: along `dim` if it has one dimension."""
    dim %= len(shape)
    if index.dim() == 1:
        return index.view([-1 if d == dim else 1 for d in range(len(shape))]).expand(shape)
    return index.view(*index.shape, *[1] * (len(shape) - index.dim())).expand(shape)


def collected(src: Tensor, index: Tensor, dim: int) -> dict[Place, list[tuple[int, float]]]:
    """The values of each place of a result, and where along `dim` each is, in order."""
    dim %= src.dim()
    full = spread(index, tuple(src.shape), dim)
    found = defaultdict(list)
    for place in itertools.product(*map(range, src.shape)):
        target = (*place[:dim], int(full[place]), *place[dim + 1 :])
        found[target].append((place[dim], src[place].item()))
    return found


def truth(src: Tensor, index: Tensor, dim: int, size: int, reduce: str) -> Tensor:
    """The reduction in float64, place by place; 0 where there is no value, 1 for a product."""
    shape = list(src.shape)
    shape[dim] = size
    out = torch.full(shape, float(reduce == "mul"), dtype=torch.float64)
    for place, found in collected(src, index, dim).items():
        out[place] = REDUCTIONS[reduce]([value for _, value in found])
    return out


def truth_places(src: Tensor, index: Tensor, dim: int, size: int, reduce: str) -> Tensor:
    """Where the extreme values are from, the first of equal ones; the size of `src` for none."""
    shape = list(src.shape)
    shape[dim] = size
    out = torch.full(shape, src.shape[dim])
    pick = max if reduce == "max" else min
    for place, found in collected(src, index, dim).items():
        out[place] = pick(found, key=lambda pair: pair[1])[0]
    return out


def deviation(values: list[float], unbiased: bool = True) -> float:
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt(squares / (max(len(values) - unbiased, 1) + 1e-6))


REDUCTIONS = {
    "sum": math.fsum,
    "mean": lambda values: math.fsum(values) / len(values),
    "max": max,
    "min": min,
    "mul": math.prod,
    "logsumexp": lambda values: math.log(math.fsum(map(math.exp, values))),
    "std": deviation,
}


def random_index(shape: tuple[int, ...], size: int) -> Tensor:
    """In any order; some places have no value."""
    return torch.randint(0, size, shape) // 2 * 2
