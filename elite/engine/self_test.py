"""Small problems on which an op must agree with its definition in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.testing import assert_close

import elite_ops
from elite_ops.reference import lovasz_softmax, segment_reduce, sparse_conv, voxelize

__all__ = ["SELF_TESTS"]

NUM_POINTS = 5000
POINT_CLOUD_RANGE = (-50.0, -50.0, -4.0, 50.0, 50.0, 2.0)  # metres
SPATIAL_SHAPE = (100, 100, 6)


def _points(device: torch.device) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    spread = torch.tensor([20.0, 20.0, 1.0, 1.0])
    return (torch.randn(NUM_POINTS, 4, generator=generator) * spread).to(device)


def _voxels(device: torch.device) -> elite_ops.Voxels:
    (voxels,) = elite_ops.voxelize(
        _points(device), point_cloud_range=POINT_CLOUD_RANGE, spatial_shape=SPATIAL_SHAPE
    )
    return voxels


def _test_voxelize(device: torch.device) -> None:
    (expected,) = voxelize.voxelize(
        _points(device), point_cloud_range=POINT_CLOUD_RANGE, spatial_shape=SPATIAL_SHAPE
    )
    got = _voxels(device)
    assert_close(got.indices, expected.indices)
    assert_close(got.point_rows, expected.point_rows)


def _test_segment_mean(device: torch.device) -> None:
    points, voxels = _points(device), _voxels(device)
    rows = len(voxels.indices)
    got = elite_ops.segment_mean(points, elite_ops.build_segments(voxels.point_rows, rows))
    assert_close(
        got, segment_reduce.segment_mean(points, voxels.point_rows, rows), atol=1e-4, rtol=1e-4
    )


def _test_sparse_conv(device: torch.device) -> None:
    indices = _voxels(device).indices
    kernel_map = elite_ops.build_kernel_map(indices, spatial_shape=SPATIAL_SHAPE, batch_size=1)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(len(indices), 16, generator=generator).to(device)
    weight = torch.randn(27, 16, 16, generator=generator).to(device)
    got = elite_ops.sparse_conv(features, weight, kernel_map)
    assert_close(got, sparse_conv.sparse_conv(features, weight, kernel_map), atol=1e-4, rtol=1e-4)


def _test_lovasz_softmax(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(NUM_POINTS, 20, generator=generator).to(device)
    labels = torch.randint(0, 20, (NUM_POINTS,), generator=generator).to(device)
    got = elite_ops.lovasz_softmax(logits, labels)
    assert_close(got, lovasz_softmax.lovasz_softmax(logits, labels), atol=1e-4, rtol=1e-4)


SELF_TESTS: dict[str, Callable[[torch.device], None]] = {
    "voxelize": _test_voxelize,
    "segment_mean": _test_segment_mean,
    "sparse_conv": _test_sparse_conv,
    "lovasz_softmax": _test_lovasz_softmax,
}
