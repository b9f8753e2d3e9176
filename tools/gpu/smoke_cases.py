"""How the smoke test calls each op of the library: one function an op, of the same name.

A function yields the arguments of one or more calls of `torch.ops.elite_ops.<name>`. Floating
arguments come in the dtype that is asked for and hold the same numbers in each, so that the result
in float64 is the truth for the others.
"""

from __future__ import annotations

from typing import Any

import smoke_convolutions  # noqa: F401 (registers its cases)
import torch
from smoke_case import CASES, FLOATS, OPS, Calls, case, every_row_of, parts
from smoke_scene import CLASSES, SCALES, Scene, integers, numbers
from torch import Tensor

__all__ = ["CASES"]

IMAGE = (370, 1226)  # height and width


@case()
def voxelize(scene: Scene, _: torch.dtype) -> Calls:
    grid = (scene.point_cloud_range, scene.spatial_shape, SCALES)
    batch_index = integers(2, len(scene.points))
    yield scene.points, None, *grid, 1, False, (3, 3, 3)
    yield scene.points, batch_index, *grid, 2, True, (1, 3, 5), (), (1, 2)
    yield scene.points, None, *grid, 1, False, (3, 3, 3), [len(v.indices) for v in scene.voxels]


@case()
def voxelize_scale(scene: Scene, _: torch.dtype) -> Calls:
    grid = (scene.point_cloud_range, scene.spatial_shape)
    batch_index = integers(2, len(scene.points))
    yield scene.points, None, *grid, 1, 1, False, (3, 3, 3)
    yield scene.points, batch_index, *grid, 2, 2, True
    yield scene.points, None, *grid, 1, 1, False, (3, 3, 3), len(scene.voxels[0].indices)


@case()
def hard_voxelize(scene: Scene, _: torch.dtype) -> Calls:
    grid = (scene.point_cloud_range[:3], (0.3, 0.3, 0.5), (300, 300, 12))
    batch_index = integers(2, len(scene.points))
    yield scene.points, None, *grid, 1, 5, 4000, False
    yield scene.points, batch_index, *grid, 2, 32, 500, True


@case()
def serialize(scene: Scene, _: torch.dtype) -> Calls:
    for hilbert in (False, True):
        yield scene.voxels[0].indices, hilbert, True, 16


@case()
def build_kernel_map(scene: Scene, _: torch.dtype) -> Calls:
    voxels = scene.voxels[0]
    yield voxels.indices, voxels.spatial_shape, 1, (3, 3, 3), (1, 1, 1)
    yield voxels.indices.flip(0), voxels.spatial_shape, 1, (1, 5, 3), (2, 1, 1)


@case()
def devoxelize(scene: Scene, _: torch.dtype) -> Calls:
    voxels = scene.voxels[0]
    cells = (voxels.indices, voxels.spatial_shape, 1)
    for nearest in (False, True):
        yield *cells, scene.points, None, scene.point_cloud_range, nearest


@case()
def order_rows(scene: Scene, _: torch.dtype) -> Calls:
    yield scene.kernel_map.in_rows, (3, 3, 3)


@case()
def build_segments(scene: Scene, _: torch.dtype) -> Calls:
    inverse = [v.point_rows for v in scene.voxels]
    sizes = [len(v.indices) for v in scene.voxels]
    yield inverse[:1], sizes[:1]
    yield inverse, sizes


@case()
def segments_from_csr(scene: Scene, _: torch.dtype) -> Calls:
    offsets, points = scene.segments[0].offsets, len(scene.points)
    yield offsets.long(), points
    yield offsets, None


@case()
def intersect_segments(scene: Scene, _: torch.dtype) -> Calls:
    yield [s.inverse for s in scene.segments], *parts(scene.segments[0])[1:]


@case()
def nearest_rows(scene: Scene, _: torch.dtype) -> Calls:
    xyz = scene.points[:, :3].contiguous()
    yield xyz[::16].contiguous(), xyz[1::2].contiguous()


@case()
def project_points(scene: Scene, _: torch.dtype) -> Calls:
    camera = torch.tensor([[600.0, -700, 0, 0], [180.0, 0, -700, 0], [1.0, 0, 0, 0]])
    batch_index = integers(2, len(scene.points))
    yield scene.points, camera, None, *IMAGE
    yield scene.points, torch.stack([camera, 2 * camera + 1]), batch_index, *IMAGE


# ---- reductions over voxels, and back ------------------------------------------------------------


@case(*FLOATS)
def segment_sum(scene: Scene, dtype: torch.dtype) -> Calls:
    segments = scene.segments[0]
    src = numbers(dtype, len(scene.points), 20)
    yield src, *parts(segments)
    yield src, *parts(segments), every_row_of(segments.offsets[1:])


@case(*FLOATS)
def segment_mean(scene: Scene, dtype: torch.dtype) -> Calls:
    yield from segment_sum(scene, dtype)


@case(*FLOATS)
def segment_mean_backward(scene: Scene, dtype: torch.dtype) -> Calls:
    segments = scene.segments[0]
    yield numbers(dtype, segments.num_segments, 20), *parts(segments)


@case(*FLOATS)
def segment_max(scene: Scene, dtype: torch.dtype) -> Calls:
    yield numbers(dtype, len(scene.points), 20), *parts(scene.segments[0])


@case(*FLOATS)
def segment_min(scene: Scene, dtype: torch.dtype) -> Calls:
    yield from segment_max(scene, dtype)


@case(*FLOATS)
def segment_max_backward(scene: Scene, dtype: torch.dtype) -> Calls:
    segments = scene.segments[0]
    (src, *of_points) = next(segment_max(scene, dtype))
    argmax = OPS.segment_max(src, *of_points)[1]
    yield numbers(dtype, segments.num_segments, 20), argmax, segments.inverse


@case(*FLOATS)
def segment_take(scene: Scene, dtype: torch.dtype) -> Calls:
    _, argmax, inverse = next(segment_max_backward(scene, dtype))
    yield numbers(dtype, len(scene.points), 20, seed=1), argmax, inverse


@case(*FLOATS)
def segment_softmax(scene: Scene, dtype: torch.dtype) -> Calls:
    yield from segment_max(scene, dtype)


@case(*FLOATS)
def segment_softmax_backward(scene: Scene, dtype: torch.dtype) -> Calls:
    (src, *of_points) = next(segment_max(scene, dtype))
    yield numbers(dtype, len(src), 20, seed=1), OPS.segment_softmax(src, *of_points), *of_points


@case(*FLOATS)
def segment_logsumexp(scene: Scene, dtype: torch.dtype) -> Calls:
    yield from segment_max(scene, dtype)


@case(*FLOATS)
def voxel_to_point(scene: Scene, dtype: torch.dtype) -> Calls:
    yield from segment_mean_backward(scene, dtype)


@case(*FLOATS)
def fill_slots(scene: Scene, dtype: torch.dtype) -> Calls:
    _, counts, *places, _ = OPS.hard_voxelize(*next(hard_voxelize(scene, dtype)))
    yield numbers(dtype, len(scene.points), 5), *places, counts, 5


@case(*FLOATS)
def take_slots(scene: Scene, dtype: torch.dtype) -> Calls:
    (features, *places, max_points) = next(fill_slots(scene, dtype))
    yield OPS.fill_slots(features, *places, max_points), *places


@case()
def build_transition(scene: Scene, _: torch.dtype) -> Calls:
    yield *parts(scene.segments[0]), *parts(scene.segments[1])


@case(*FLOATS)
def transition(scene: Scene, dtype: torch.dtype) -> Calls:
    fine, coarse = scene.segments[:2]
    operator = OPS.build_transition(*parts(fine), *parts(coarse))
    features = numbers(dtype, fine.num_segments, 20)
    yield features, *operator
    yield features, *operator, every_row_of(coarse.offsets[1:])


@case(*FLOATS)
def transition_by_points(scene: Scene, dtype: torch.dtype) -> Calls:
    fine, coarse = scene.segments[:2]
    features = numbers(dtype, fine.num_segments, 20)
    points = fine.inverse, fine.offsets, *parts(coarse)
    yield features, *points, every_row_of(coarse.offsets[1:])


@case()
def majority_vote(scene: Scene, _: torch.dtype) -> Calls:
    yield scene.labels, *parts(scene.segments[1]), CLASSES, 0


@case(*FLOATS)
def most_likely(scene: Scene, dtype: torch.dtype) -> Calls:
    logits = numbers(dtype, len(scene.points), 24)
    yield logits[:, :CLASSES], scene.voxels[0].point_rows, 0
    yield logits[:, 1:CLASSES], integers(2, len(logits)).bool(), None
    yield logits, None, CLASSES


@case(*FLOATS)
def add_rows(scene: Scene, dtype: torch.dtype) -> Calls:
    x = numbers(dtype, len(scene.voxels[0].indices), 64)
    yield x, x.flip(0)
    yield x[:, 1:], x[:, :-1], every_row_of(x)


@case()
def confusion_matrix(scene: Scene, _: torch.dtype) -> Calls:
    yield integers(CLASSES, len(scene.points)), scene.labels, CLASSES


# ---- products ------------------------------------------------------------------------------------


def encoding(scene: Scene, dtype: torch.dtype) -> tuple[Any, ...]:
    voxels, segments = scene.voxels[0], scene.segments[0]
    box = torch.tensor(scene.point_cloud_range, dtype=torch.float64).view(2, 3)
    size = (box[1] - box[0]) / torch.tensor(voxels.spatial_shape)
    grid = (size.tolist(), box[0].tolist())
    weight, bias = numbers(dtype, 10, 64, seed=1), numbers(dtype, 64, seed=2)
    return scene.points, *parts(segments), voxels.indices, weight, bias, *grid, 0.125


@case(*FLOATS)
def encode_voxels(scene: Scene, dtype: torch.dtype) -> Calls:
    yield encoding(scene, dtype)
    yield *encoding(scene, dtype), every_row_of(scene.voxels[0].indices)


@case(*FLOATS)
def encode_voxels_backward(scene: Scene, dtype: torch.dtype) -> Calls:
    yield numbers(dtype, len(scene.voxels[0].indices), 64), *encoding(scene, dtype)


def patches(scene: Scene) -> tuple[Tensor, Tensor]:
    """A pixel and an image for each point."""
    pixel = torch.stack([integers(size, len(scene.points)) for size in IMAGE], dim=1)
    return pixel.int(), integers(2, len(scene.points))


@case(*FLOATS)
def patch_to_point(scene: Scene, dtype: torch.dtype) -> Calls:
    features = numbers(dtype, 2, 64, 23, 76)
    yield features, *patches(scene), *IMAGE
    yield features.to(memory_format=torch.channels_last), *patches(scene), *IMAGE


@case(*FLOATS)
def patch_to_point_backward(scene: Scene, dtype: torch.dtype) -> Calls:
    features, pixel, *rest = next(patch_to_point(scene, dtype))
    cell = OPS.patch_to_point(features, pixel, *rest)[1]
    order, offsets = OPS.build_segments([cell], [2 * 23 * 76])
    grad_out = numbers(dtype, len(pixel), 64, seed=1)
    for channels_last in (False, True):
        yield grad_out, pixel, rest[0], order, offsets, features.shape, *IMAGE, channels_last


@case(torch.float32, torch.float16)
def nms(scene: Scene, dtype: torch.dtype) -> Calls:
    """Corners are whole numbers and the threshold is 1/2: no dtype rounds anything."""
    count = 300 if scene.name == "small" else 3000
    corner = integers(60, count, 2)
    boxes = torch.cat([corner, corner + 1 + integers(30, count, 2, seed=1)], dim=1)
    yield boxes.to(dtype), numbers(dtype, count, seed=2), 0.5


def logits_of_points(scene: Scene, dtype: torch.dtype) -> Tensor:
    return numbers(dtype, len(scene.points), CLASSES, seed=1)


@case(*FLOATS)
def distillation_loss(scene: Scene, dtype: torch.dtype) -> Calls:
    segments, teacher = scene.segments[0], logits_of_points(scene, dtype)
    student = numbers(dtype, segments.num_segments, CLASSES)
    yield student, teacher, segments.inverse, None, 2.0, "mean"
    yield teacher.flip(0), teacher, None, None, 1.0, "batchmean"


@case(*FLOATS)
def distillation_loss_backward(scene: Scene, dtype: torch.dtype) -> Calls:
    student, teacher, *rest = next(distillation_loss(scene, dtype))
    loss, scale = OPS.distillation_loss(student, teacher, *rest)
    grad_loss = torch.full_like(loss, 4096)  # halves must not lose the small gradients of a mean
    by_row = parts(scene.segments[0])[1:]
    yield grad_loss, scale, student, teacher, *by_row, None, 2.0


@case(*FLOATS, by_norm=True)
def lovasz_softmax(scene: Scene, dtype: torch.dtype) -> Calls:
    yield logits_of_points(scene, dtype), scene.labels, 0, "present"
    yield logits_of_points(scene, dtype), scene.labels, None, "all"


@case(*FLOATS)
def lovasz_softmax_backward(scene: Scene, dtype: torch.dtype) -> Calls:
    sums = torch.promote_types(dtype, torch.float32)
    grad_probabilities = numbers(sums, CLASSES, len(scene.points), seed=2)
    yield numbers(sums, 1)[0], logits_of_points(scene, dtype), grad_probabilities
