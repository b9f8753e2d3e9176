"""The pairs of voxels that a convolution kernel connects, and the voxels that it reaches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.kernel_map import KernelMap, outside_inference_mode
from elite_ops.registration import register_fake

__all__ = ["build_kernel_map", "build_strided_map", "connect_voxels", "output_voxels"]


def build_kernel_map(
    indices: Tensor,  # [V, 4] int32: batch, x, y, z
    *,
    spatial_shape: Sequence[int],
    batch_size: int,
    kernel_size: int | Sequence[int] = 3,
    dilation: int | Sequence[int] = 1,
) -> KernelMap:
    """Builds the kernel map of a submanifold convolution, whose outputs are its input voxels.

    Offset k = (k_x * size_y + k_y) * size_z + k_z leads from an output voxel to the input voxel
    that is (k_x, k_y, k_z) * dilation - padding cells away, where padding is
    (kernel_size - 1) * dilation // 2. Voxels meet only within their sample, and a displacement that
    leaves the grid meets nothing.

    Args:
        indices: the voxels, each once, in any order; sorted ones, as from `voxelize`, are fastest
            on the CPU.
        spatial_shape: cells along x, y, z.
        batch_size: the number of samples.
        kernel_size: between 1 and 7; one number, or one per axis.
        dilation: cells between neighbouring offsets; one number, or one per axis.

    Returns:
        The map, symmetric if the kernel is odd along each axis.

    Raises:
        IndexError: if a voxel is outside its grid.
        ValueError: if two voxels are equal, or an argument makes no sense. On CUDA, voxels outside
            the grid and equal ones are reported by `check_device_errors`.
        TypeError: if `indices` is not int32, or a number no integer.

    Example:
        >>> indices = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.int32)
        >>> build_kernel_map(
        ...     indices, spatial_shape=(1, 1, 2), batch_size=1, kernel_size=(1, 1, 3)
        ... ).in_rows.tolist()
        [[-1, 0], [0, 1], [1, -1]]

    *Differentiable*: no.
    *Sync*: none.
    *Deterministic*: yes.
    *Source*: submanifold sparse convolution (Graham et al., CVPR 2018).
    """
    geometry = KernelGeometry.of_submanifold(kernel_size, dilation=dilation, op="build_kernel_map")
    if not geometry.symmetric:
        return connect_voxels(
            indices, spatial_shape, indices, spatial_shape, batch_size=batch_size, geometry=geometry
        )
    in_rows = outside_inference_mode(
        torch.ops.elite_ops.build_kernel_map,
        indices,
        spatial_shape,
        batch_size,
        geometry.kernel_size,
        geometry.dilation,
    )
    return KernelMap(in_rows, indices.shape[0], geometry, symmetric=True)


def connect_voxels(
    in_indices: Tensor,  # [V_in, 4] int32: batch, x, y, z
    in_shape: Sequence[int],
    out_indices: Tensor,  # [V_out, 4] int32
    out_shape: Sequence[int],
    *,
    batch_size: int,
    geometry: KernelGeometry,
) -> KernelMap:
    """Builds the kernel map between two sets of voxels that are already there.

    Args:
        in_indices: the input voxels, each once, in any order; sorted ones are fastest on the CPU.
        in_shape: the input grid's cells along x, y, z.
        out_indices: the output voxels, likewise.
        out_shape: the output grid's cells.
        batch_size: the number of samples.
        geometry: which cells are connected, along three axes.

    Returns:
        The map, whose `in_rows` are -1 where an output voxel has no input voxel.

    Raises:
        IndexError, ValueError, TypeError: as `build_kernel_map`.

    *Differentiable*: no.
    *Sync*: none.
    *Deterministic*: yes.
    *Source*: sparse convolution (Graham et al., CVPR 2018).
    """
    if geometry.transposed:
        return connect_voxels(
            out_indices,
            out_shape,
            in_indices,
            in_shape,
            batch_size=batch_size,
            geometry=geometry.swapped(),
        ).swapped()
    in_rows = outside_inference_mode(
        torch.ops.elite_ops.connect_voxels,
        in_indices,
        in_shape,
        out_indices,
        out_shape,
        batch_size,
        geometry.kernel_size,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
    )
    return KernelMap(in_rows, in_indices.shape[0], geometry)


def output_voxels(
    indices: Tensor,  # [V, 4] int32: batch, x, y, z
    *,
    spatial_shape: Sequence[int],
    batch_size: int,
    geometry: KernelGeometry,
) -> Tensor:  # [V_out, 4] int32
    """Finds every cell of a convolution's output that at least one voxel reaches.

    Those are the cells where the dense convolution of voxels of ones with a kernel of ones is not
    zero.

    Args:
        indices: the input voxels, in any order; sorted ones are fastest on the CPU. Equal ones
            count as one.
        spatial_shape: the input grid's cells along x, y, z.
        batch_size: the number of samples.
        geometry: which cells are connected, along three axes.

    Returns:
        The output voxels, in order of (batch, x, y, z), on a grid of
        `geometry.output_shape(spatial_shape)` cells.

    Raises:
        IndexError: if a voxel is outside its grid (on CUDA: see `check_device_errors`).
        ValueError: if the kernel doesn't fit into the padded grid, or an argument makes no sense.
        TypeError: if `indices` is not int32.

    Example:
        >>> indices = torch.tensor([[0, 0, 0, 2]], dtype=torch.int32)
        >>> geometry = KernelGeometry.of((1, 1, 3), stride=(1, 1, 2), padding=(0, 0, 1))
        >>> output_voxels(indices, spatial_shape=(1, 1, 4), batch_size=1, geometry=geometry)
        tensor([[0, 0, 0, 1]], dtype=torch.int32)

    *Differentiable*: no.
    *Sync*: CUDA: one, for the number of voxels.
    *Deterministic*: yes.
    *Source*: sparse convolution (Graham et al., CVPR 2018).
    """
    found: Tensor = outside_inference_mode(
        torch.ops.elite_ops.output_voxels,
        indices,
        spatial_shape,
        batch_size,
        geometry.kernel_size,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.output_shape(spatial_shape),
        geometry.transposed,
    )
    return found


def build_strided_map(
    indices: Tensor,  # [V, 4] int32: batch, x, y, z
    *,
    spatial_shape: Sequence[int],
    batch_size: int,
    geometry: KernelGeometry,
) -> tuple[Tensor, KernelMap]:  # [V_out, 4] int32
    """The cells that `output_voxels` finds, and the map of `connect_voxels` between both, at once.

    Args:
        indices: the input voxels, each once, in any order; sorted ones are fastest on the CPU.
        spatial_shape: the input grid's cells along x, y, z.
        batch_size: the number of samples.
        geometry: which cells are connected, along three axes.

    Returns:
        The output voxels, and the map.

    Raises:
        IndexError: if a voxel is outside its grid.
        ValueError: if two voxels are equal, the kernel doesn't fit into the padded grid, or an
            argument makes no sense. On CUDA, voxels outside the grid and equal ones are reported by
            `check_device_errors`.
        TypeError: if `indices` is not int32.

    *Differentiable*: no.
    *Sync*: CUDA: one, for the number of voxels.
    *Deterministic*: yes.
    *Source*: sparse convolution (Graham et al., CVPR 2018).
    """
    found, in_rows = outside_inference_mode(
        torch.ops.elite_ops.build_strided_map,
        indices,
        spatial_shape,
        batch_size,
        geometry.kernel_size,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.output_shape(spatial_shape),
        geometry.transposed,
    )
    return found, KernelMap(in_rows, indices.shape[0], geometry)


def _num_offsets(op: str, kernel_size: Sequence[int]) -> int:
    KernelGeometry.of(kernel_size, op=op)
    return math.prod(kernel_size)


def _fake(
    indices: Tensor,
    spatial_shape: Sequence[int],
    batch_size: int,
    kernel_size: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    return indices.new_empty(_num_offsets("build_kernel_map", kernel_size), indices.shape[0])


def _fake_connect(
    in_indices: Tensor,
    in_shape: Sequence[int],
    out_indices: Tensor,
    out_shape: Sequence[int],
    batch_size: int,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    num_offsets = _num_offsets("connect_voxels", kernel_size)
    return in_indices.new_empty(num_offsets, out_indices.shape[0])


def _fake_output(indices: Tensor, *arguments: object) -> Tensor:
    return indices.new_empty(torch.library.get_ctx().new_dynamic_size(), 4)


def _fake_strided(
    indices: Tensor,
    spatial_shape: Sequence[int],
    batch_size: int,
    kernel_size: Sequence[int],
    *rest: object,
) -> tuple[Tensor, Tensor]:
    num_outputs = torch.library.get_ctx().new_dynamic_size()
    return (
        indices.new_empty(num_outputs, 4),
        indices.new_empty(_num_offsets("build_strided_map", kernel_size), num_outputs),
    )


def _fake_swap(rows: Tensor, num_rows: int) -> Tensor:
    if isinstance(num_rows, int) and not 0 <= num_rows < 2**31 - 1:
        raise ValueError(
            f"swap_kernel_map: `num_rows` must be between 0 and 2^31 - 2, got {num_rows}"
        )
    return rows.new_empty(rows.shape[0], num_rows)


register_fake("build_kernel_map", _fake)
register_fake("connect_voxels", _fake_connect)
register_fake("output_voxels", _fake_output)
register_fake("build_strided_map", _fake_strided)
register_fake("swap_kernel_map", _fake_swap)
