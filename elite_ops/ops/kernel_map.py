"""The neighbours of each voxel under each offset of a convolution kernel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elite_ops.kernel_map import KernelMap
from elite_ops.triple import triple

__all__ = ["build_kernel_map"]


def build_kernel_map(
    indices: Tensor,  # [V, 4] int32: batch, x, y, z
    *,
    spatial_shape: Sequence[int],
    batch_size: int,
    kernel_size: int | Sequence[int] = 3,
    dilation: int | Sequence[int] = 1,
) -> KernelMap:
    """Builds the kernel map of a submanifold convolution, whose outputs are its input voxels.

    Offset k = (i_x * k_y + i_y) * k_z + i_z displaces an output voxel by
    ((i_x, i_y, i_z) - kernel_size // 2) * dilation cells to its input voxel. Voxels meet only
    within their sample, and a displacement that leaves the grid meets nothing.

    Args:
        indices: the voxels, each once, in any order; sorted ones, as from `voxelize`, are fastest
            on the CPU.
        spatial_shape: cells along x, y, z.
        batch_size: the number of samples.
        kernel_size: 1, 3, 5 or 7; one number, or one per axis.
        dilation: cells between neighbouring offsets; one number, or one per axis.

    Returns:
        The map, mirrored.

    Raises:
        IndexError: if a voxel is outside its grid.
        ValueError: if two voxels are equal, or an argument makes no sense. On CUDA, voxels outside
            the grid and equal ones are reported by `check_device_errors`.
        TypeError: if `indices` is not int32.

    Example:
        >>> indices = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.int32)
        >>> build_kernel_map(
        ...     indices, spatial_shape=(1, 1, 2), batch_size=1, kernel_size=(1, 1, 3)
        ... ).neighbors.tolist()
        [[-1, 0], [0, 1], [1, -1]]

    *Differentiable*: no.
    *Sync*: none.
    *Deterministic*: yes.
    *Source*: submanifold sparse convolution (Graham et al., CVPR 2018).
    """
    kernel_size = triple("build_kernel_map", "kernel_size", kernel_size)
    dilation = triple("build_kernel_map", "dilation", dilation)
    neighbors = torch.ops.elite_ops.build_kernel_map(
        indices, spatial_shape, batch_size, kernel_size, dilation
    )
    return KernelMap(neighbors, neighbors, mirrored=True, kernel_size=kernel_size)


def _fake(
    indices: Tensor,
    spatial_shape: Sequence[int],
    batch_size: int,
    kernel_size: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    k_x, k_y, k_z = kernel_size
    return indices.new_empty(k_x * k_y * k_z, indices.shape[0])


torch.library.register_fake("elite_ops::build_kernel_map", _fake)
