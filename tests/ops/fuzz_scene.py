"""A small scene on which every op is called; what the ops got is where tests/ops/fuzz.py begins."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import elite_ops
from elite_ops import build_segments

Arguments = dict[str, Any]


class Recorder(TorchDispatchMode):
    """Keeps the arguments of every call of an op of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, list[Arguments]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "elite_ops":
            names = [a.name for a in func._schema.arguments]
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            kept = {key: detached(value) for key, value in given.items()}
            self.calls.setdefault(func._schema.name, []).append(kept)
        return func(*args, **kwargs)


def detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()
    return [detached(v) for v in value] if isinstance(value, (list, tuple)) else value


def differentiated(out: Tensor) -> None:
    out.square().sum().backward()


def features(rows: int, channels: int = 4, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(rows, channels, dtype=dtype, requires_grad=True)


def call_every_op() -> None:
    points = torch.rand(40, 4)
    batch_index = torch.arange(40) // 20
    (voxels,) = elite_ops.voxelize(
        points,
        batch_index,
        point_cloud_range=(0, 0, 0, 1, 1, 1),
        spatial_shape=(4, 4, 4),
        kernel_size=3,
        halved=(1,),
    )
    indices, rows = voxels.indices, voxels.indices.shape[0]
    kernel_map = elite_ops.build_kernel_map(indices, spatial_shape=(4, 4, 4), batch_size=2)
    segments = build_segments(voxels.point_rows, rows)
    call_voxel_ops(points, indices, segments)
    for dtype in (torch.float32, torch.bfloat16):
        call_convolutions(kernel_map, dtype)
    call_strided(voxels)
    call_point_ops(points, batch_index)


def call_voxel_ops(points: Tensor, indices: Tensor, segments: elite_ops.Segments) -> None:
    rows = indices.shape[0]
    for reduce in (elite_ops.segment_sum, elite_ops.segment_mean, elite_ops.segment_max):
        differentiated(reduce(features(40), segments))
    differentiated(elite_ops.voxel_to_point(features(rows), segments))
    size, origin = (0.25, 0.25, 0.25), (0.0, 0.0, 0.0)
    weight, bias = features(10), features(1)[0]
    differentiated(
        elite_ops.encode_voxels(
            points, segments, indices, weight, bias, voxel_size=size, origin=origin
        )
    )
    differentiated(elite_ops.segment_min(features(40), segments))
    differentiated(elite_ops.segment_softmax(features(40), segments))
    differentiated(elite_ops.segment_logsumexp(features(40), segments))
    elite_ops.Segments.from_csr(torch.tensor([0, 3, 3, 40]))
    labels = torch.arange(40) % 5
    elite_ops.majority_vote(labels, segments, 5)
    coarse = build_segments(segments.inverse.clamp(max=3), 4)
    elite_ops.intersect_segments([segments, coarse])
    transition = elite_ops.build_transition(segments, coarse)
    differentiated(elite_ops.transition(features(rows), transition))


def call_convolutions(kernel_map: elite_ops.KernelMap, dtype: torch.dtype) -> None:
    rows = kernel_map.num_out
    weight = torch.randn(27, 4, 4, dtype=dtype, requires_grad=True)
    bias = torch.randn(4, dtype=dtype, requires_grad=True)
    differentiated(elite_ops.sparse_conv(features(rows, 4, dtype), weight, kernel_map, bias))
    with torch.no_grad():
        x = features(rows, 4, dtype)
        elite_ops.sparse_conv_fused(x, weight, kernel_map, bias, residual=x)
        elite_ops.linear_fused(x, weight[0], bias)
        elite_ops.add_rows(x, x, torch.tensor(rows))
    elite_ops.order_rows(kernel_map)


def call_strided(voxels: elite_ops.Voxels) -> None:
    geometry = elite_ops.KernelGeometry.of(3, stride=2, padding=1)
    x = elite_ops.SparseTensor(features(len(voxels)), voxels)
    outputs, kernel_map = voxels.kernel_map(geometry)
    weight = features(27)
    differentiated(elite_ops.sparse_depthwise_conv(x.features, weight, kernel_map))
    for pool in (elite_ops.sparse_max_pool, elite_ops.sparse_avg_pool):
        differentiated(pool(x.features, kernel_map))
    voxels.kernel_map_onto(outputs, geometry)
    bounds = (0, 0, 0, 1, 1, 1)
    points, batch_index = torch.rand(40, 3), torch.arange(40) // 20
    for mode in ("trilinear", "nearest"):
        differentiated(
            elite_ops.devoxelize(
                x.features, voxels, points, batch_index, point_cloud_range=bounds, mode=mode
            )
        )
    x.union(x.select(torch.arange(len(x)) % 2 == 0))


def call_point_ops(points: Tensor, batch_index: Tensor) -> None:
    xyz = points[:, :3].contiguous()
    voxels = elite_ops.hard_voxelize(
        points.clone().requires_grad_(),
        spatial_shape=(4, 4, 4),
        point_cloud_range=(0, 0, 0, 1, 1, 1),
        max_points=3,
        max_voxels=20,
    )
    differentiated(voxels.points)
    elite_ops.build_serialization(voxels.indices, order="hilbert")
    elite_ops.nearest_rows(xyz, xyz[:7])
    elite_ops.nms(torch.rand(9, 4).sort(1)[0], torch.rand(9), 0.5)
    pixel, _ = elite_ops.project_points(points, torch.rand(2, 3, 4), (8, 16), batch_index)
    patches = torch.randn(2, 4, 2, 3, requires_grad=True)
    differentiated(elite_ops.patch_to_point(patches, pixel.clamp(min=0), batch_index, (8, 16)))
    labels = torch.arange(40) % 5
    elite_ops.confusion_matrix(labels, labels.flip(0), 5)
    elite_ops.most_likely(features(40, 5), labels > 2, ignore_label=0)
    differentiated(elite_ops.lovasz_softmax(features(40, 5), labels))
    index = torch.arange(40, dtype=torch.int32) % 9
    differentiated(
        elite_ops.distillation_loss(features(9), torch.randn(40, 4), index, weight=torch.rand(40))
    )


def recorded_calls() -> dict[str, list[Arguments]]:
    torch.manual_seed(0)
    with Recorder() as recorder:
        call_every_op()
    return recorder.calls
