"""A batch with cameras, a student's output and a teacher's maps, all random and small."""

from __future__ import annotations

import torch

from elite.distill import DistillConfig, Distiller
from elite.types import Batch, CameraBatch, StageOutput, StudentOutput
from elite_ops import build_segments

CLASS_WEIGHTS = torch.cat([torch.zeros(1), torch.linspace(0.5, 3.0, 19)])
IMAGE_SIZE = (24, 40)
PATCHES = (6, 10)


def make_distiller(config: DistillConfig | None = None, seed: int = 0) -> Distiller:
    torch.manual_seed(seed)
    return Distiller(config or DistillConfig(), CLASS_WEIGHTS)


def make_batch(
    num_points: int = 300, num_shown: int = 120, *, dense: bool = False, seed: int = 0
) -> Batch:
    """Two scans; a third of the points is unlabelled, some are shown by an image."""
    rng = torch.Generator().manual_seed(seed)
    height, width = IMAGE_SIZE

    def integers(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, high, shape, generator=rng)

    batch_index = integers(2, num_points).sort().values
    point_index = torch.randperm(num_points, generator=rng)[:num_shown].sort().values
    labels = integers(20, num_points) * (integers(3, num_points) > 0)
    pseudo_labels = integers(20, 2, height, width) * (integers(4, 2, height, width) > 0)
    camera = CameraBatch(
        images=integers(256, 2, 3, height, width).byte(),
        pixel=torch.stack([integers(height, num_shown), integers(width, num_shown)], 1).int(),
        point_index=point_index,
        image_index=batch_index[point_index],
        pseudo_labels=pseudo_labels if dense else None,
    )
    points = torch.randn(num_points, 4, generator=rng)
    return Batch(points, batch_index, 2, ["a", "b"], labels, camera)


def make_output(batch: Batch, seed: int = 0) -> StudentOutput:
    """Four stages of fewer and fewer voxels; every tenth point lies outside of the range."""
    rng = torch.Generator().manual_seed(seed)
    num_points = len(batch.points)
    stages = []
    for num_voxels in (150, 80, 40, 20):
        inverse = torch.randint(0, num_voxels, (num_points,), generator=rng).int()
        inverse[::10] = -1
        features = torch.randn(num_voxels, 64, generator=rng).requires_grad_()
        stages.append(StageOutput(features, build_segments(inverse, num_voxels)))
    logits = torch.randn(num_points, 20, generator=rng)
    return StudentOutput(logits, stages[0].segments.inverse >= 0, stages)


def make_maps(seed: int = 0) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 96, *PATCHES, generator=rng).requires_grad_() for _ in range(4)]
