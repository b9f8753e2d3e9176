"""How the smoke test calls kernel maps, and the ops over them: see smoke_cases.py."""

from __future__ import annotations

import torch
from smoke_case import FLOATS, OPS, Calls, case, every_row_of
from smoke_scene import Scene, numbers
from torch import Tensor

import elite_ops
from elite_ops import KernelGeometry, KernelMap

STRIDED = ((3, 3, 3), (2, 2, 2), (1, 1, 1), (1, 1, 1))  # kernel size, stride, padding, dilation


def strided(scene: Scene) -> tuple[Tensor, KernelMap]:
    voxels, kernel_map = scene.voxels[0].kernel_map(KernelGeometry.of(3, stride=2, padding=1))
    return voxels.indices, kernel_map


def coarse_shape(scene: Scene) -> tuple[int, ...]:
    return KernelGeometry.of(3, stride=2, padding=1).output_shape(scene.voxels[0].spatial_shape)


@case()
def connect_voxels(scene: Scene, _: torch.dtype) -> Calls:
    voxels, (found, _map) = scene.voxels[0], strided(scene)
    yield voxels.indices, voxels.spatial_shape, found, coarse_shape(scene), 1, *STRIDED


@case()
def output_voxels(scene: Scene, _: torch.dtype) -> Calls:
    voxels = scene.voxels[0]
    yield voxels.indices, voxels.spatial_shape, 1, *STRIDED, coarse_shape(scene), False


@case()
def build_strided_map(scene: Scene, _: torch.dtype) -> Calls:
    voxels = scene.voxels[0]
    yield voxels.indices, voxels.spatial_shape, 1, *STRIDED, coarse_shape(scene), False
    found, _map = strided(scene)
    yield found, coarse_shape(scene), 1, *STRIDED, voxels.spatial_shape, True


@case()
def swap_kernel_map(scene: Scene, _: torch.dtype) -> Calls:
    kernel_map = strided(scene)[1]
    yield kernel_map.in_rows, kernel_map.num_in


def table(kernel_map: KernelMap) -> tuple[Tensor, Tensor, bool]:
    return kernel_map.in_rows, kernel_map.out_rows, kernel_map.symmetric


@case(*FLOATS)
def sparse_conv(scene: Scene, dtype: torch.dtype) -> Calls:
    kernel_map = scene.kernel_map
    row_order = elite_ops.order_rows(kernel_map).row_order
    assert row_order is not None
    for c_in, c_out in ((64, 64), (3, 20)):
        features = numbers(dtype, kernel_map.num_in, c_in)
        weight, bias = numbers(dtype, 27, c_in, c_out, seed=1) / 32, numbers(dtype, c_out, seed=2)
        yield features, weight, bias, *table(kernel_map)
        yield features, weight, None, *table(kernel_map), row_order.order, row_order.in_rows


@case(*FLOATS)
def sparse_conv_backward_weight(scene: Scene, dtype: torch.dtype) -> Calls:
    kernel_map = scene.kernel_map
    for c_in, c_out in ((64, 64), (3, 20)):
        features, grad_out = (numbers(dtype, kernel_map.num_in, c) / 32 for c in (c_in, c_out))
        yield features, grad_out, *table(kernel_map)


@case(*FLOATS)
def sparse_conv_fused(scene: Scene, dtype: torch.dtype) -> Calls:
    neighbors = scene.kernel_map.in_rows
    rows, channels = neighbors.shape[1], 64
    features, residual = numbers(dtype, rows, channels), numbers(dtype, rows, channels, seed=3)
    weight, bias = numbers(dtype, 27, channels, channels, seed=1) / 32, numbers(dtype, channels)
    shortcut = numbers(dtype, rows, 32, seed=4), numbers(dtype, 32, channels, seed=5) / 32
    yield features, weight, bias, neighbors, residual, 0.125
    count = every_row_of(features)
    yield features, weight, bias, neighbors, None, 0.125, None, None, *shortcut, count


@case(*FLOATS)
def sparse_depthwise_conv(scene: Scene, dtype: torch.dtype) -> Calls:
    kernel_map = scene.kernel_map
    for channels in (64, 3):
        features = numbers(dtype, kernel_map.num_in, channels)
        weight, bias = numbers(dtype, 27, channels, seed=1), numbers(dtype, channels, seed=2)
        yield features, weight, bias, *table(kernel_map)
        yield features, weight, None, *table(kernel_map)


@case(*FLOATS)
def sparse_depthwise_conv_backward_weight(scene: Scene, dtype: torch.dtype) -> Calls:
    kernel_map = scene.kernel_map
    for channels in (64, 3):
        rows, size = kernel_map.num_in, channels
        features, grad_out = (numbers(dtype, rows, size, seed=seed) / 32 for seed in (0, 1))
        yield features, grad_out, *table(kernel_map)


@case(*FLOATS)
def linear_fused(scene: Scene, dtype: torch.dtype) -> Calls:
    inverse = scene.segments[0].inverse
    features = numbers(dtype, scene.segments[0].num_segments, 64)
    weight, bias = numbers(dtype, 64, 48, seed=1) / 32, numbers(dtype, 48, seed=2)
    residual = numbers(dtype, len(features), 48, seed=3)
    yield features, None, weight, bias, [residual], [None], 0.125
    yield features, inverse, weight, None, [residual], [inverse], 1.0, every_row_of(inverse)


# ---- pools ---------------------------------------------------------------------------------------


@case(*FLOATS)
def sparse_max_pool(scene: Scene, dtype: torch.dtype) -> Calls:
    for channels in (64, 3):
        yield numbers(dtype, scene.kernel_map.num_in, channels), *table(scene.kernel_map)[:2]


@case(*FLOATS)
def sparse_max_pool_backward(scene: Scene, dtype: torch.dtype) -> Calls:
    for features, in_rows, out_rows in sparse_max_pool(scene, dtype):
        argmax = OPS.sparse_max_pool(features, in_rows, out_rows)[1]
        yield numbers(dtype, *argmax.shape, seed=1), argmax, out_rows


@case(*FLOATS)
def sparse_max_pool_take(scene: Scene, dtype: torch.dtype) -> Calls:
    yield from sparse_max_pool_backward(scene, dtype)


@case(*FLOATS)
def sparse_avg_pool(scene: Scene, dtype: torch.dtype) -> Calls:
    yield from sparse_max_pool(scene, dtype)


@case(*FLOATS)
def sparse_avg_pool_backward(scene: Scene, dtype: torch.dtype) -> Calls:
    for features, in_rows, out_rows in sparse_avg_pool(scene, dtype):
        counts = OPS.sparse_avg_pool(features, in_rows, out_rows)[1]
        yield numbers(dtype, *features.shape, seed=1), counts, in_rows, out_rows


# ---- images, boxes and losses --------------------------------------------------------------------
