"""Settings of layers, drawn from the full table: kernel, stride, padding, groups, channels, batch.

A number draws one of them, always the same. Kernels and channels take turns, so that few numbers
meet each; everything else is left to chance. Grids are so small that a case takes milliseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import torch

from elite_ops import SparseTensor, VoxelSet

KERNELS = {
    3: [
        (1, 1, 1),
        (2, 2, 2),
        (3, 3, 3),
        (4, 4, 4),
        (5, 5, 5),
        (6, 6, 6),
        (7, 7, 7),
        (1, 3, 3),
        (3, 1, 1),
        (2, 3, 4),
        (7, 1, 1),
        (1, 6, 2),
        (3, 2, 5),
    ],
    2: [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (1, 3), (4, 3), (7, 1), (2, 5)],
}
CHANNELS = [1, 3, 5, 18, 33, 64, 130]
MAX_PRODUCTS = 2_000_000  # of the dense convolution


@dataclass(frozen=True)
class Case:
    """One setting; `seed` also draws voxels and features."""

    seed: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int
    c_in: int
    c_out: int
    bias: bool
    shape: tuple[int, ...]
    batch_size: int
    empty: int | None  # a sample without voxels
    density: float
    sorted: bool  # whether rows are in order

    @property
    def num_axes(self) -> int:
        return len(self.kernel)

    def sparse_tensor(
        self, device: torch.device | str = "cpu", channels: int | None = None
    ) -> SparseTensor:
        generator = torch.Generator().manual_seed(self.seed)
        occupied = torch.rand(self.batch_size, *self.shape, generator=generator) < self.density
        occupied[(-1, *(0,) * self.num_axes)] = True  # one at least
        if self.empty is not None:
            occupied[self.empty] = False
        indices = occupied.nonzero().int()
        if not self.sorted:
            indices = indices[torch.randperm(len(indices), generator=generator)]
        channels = self.c_in if channels is None else channels
        features = torch.randn(len(indices), channels, generator=generator, dtype=torch.float64)
        voxels = VoxelSet(indices.to(device), self.shape, self.batch_size)
        return SparseTensor(features.to(device).requires_grad_(), voxels)


def draw(
    seed: int,
    num_axes: int = 3,
    *,
    transposed: bool = False,
    grouped: bool = True,
    kernels: list[tuple[int, ...]] | None = None,
) -> Case:
    """A setting that torch takes too, and whose dense convolution is small.

    Args:
        transposed: of a transposed convolution, which has `output_padding`.
        grouped: whether there may be more than one group.
        kernels: instead of all.
    """
    random = Random(1000 * seed + 10 * num_axes + transposed)
    kernels = kernels or KERNELS[num_axes]
    while True:
        case = _draw(random, seed, kernels[seed % len(kernels)], transposed, grouped)
        sizes = _output_shape(case, transposed)
        products = math.prod(sizes) * math.prod(case.kernel) * case.batch_size
        products *= case.c_in * case.c_out // case.groups
        if min(sizes) >= 1 and products <= MAX_PRODUCTS:
            return case


def _draw(
    random: Random, seed: int, kernel: tuple[int, ...], transposed: bool, grouped: bool
) -> Case:
    axes = range(len(kernel))

    def numbers(least: int, most: int) -> tuple[int, ...]:
        """One for all axes, or one for each."""
        if random.random() < 0.5:
            return (random.randint(least, most),) * len(kernel)
        return tuple(random.randint(least, most) for _ in axes)

    turn = CHANNELS[seed % len(CHANNELS)]
    c_in, c_out = random.choice([(turn, random.choice(CHANNELS)), (random.choice(CHANNELS), turn)])
    groups = random.choice(_divisors(c_in, c_out)) if grouped else 1
    stride, dilation = numbers(1, 3), numbers(1, 3)
    most = [max(pair) - 1 if transposed else 0 for pair in zip(stride, dilation, strict=True)]
    batch_size = random.randint(1, 3)
    return Case(
        seed,
        kernel,
        stride,
        numbers(0, 3),
        dilation,
        tuple(random.randint(0, n) for n in most),
        groups,
        c_in,
        c_out,
        random.random() < 0.7,
        tuple(random.randint(2, 9) for _ in axes),
        batch_size,
        random.randrange(batch_size - 1) if batch_size > 1 and random.random() < 0.5 else None,
        random.choice([0.05, 0.2, 0.5, 1.0]),
        random.random() < 0.8,
    )


def _divisors(*numbers: int) -> list[int]:
    common = math.gcd(*numbers)
    return [n for n in range(1, common + 1) if common % n == 0]


def _output_shape(case: Case, transposed: bool) -> list[int]:
    """torch's formulas, from the documentation of Conv3d and ConvTranspose3d."""
    sizes = []
    for axis, size in enumerate(case.shape):
        stride, padding = case.stride[axis], case.padding[axis]
        reach = case.dilation[axis] * (case.kernel[axis] - 1)
        if transposed:
            extra = case.output_padding[axis]
            sizes.append((size - 1) * stride - 2 * padding + reach + extra + 1)
        else:
            sizes.append((size + 2 * padding - reach - 1) // stride + 1)
    return sizes
