"""Distillation's losses forward and backward: as the heads run here, and with resized maps.

Student stages and teacher maps are random, of the sizes of a real scan and a 320 x 1024
crop; the networks are not part of it. `peak_mb` is what a step needs at its height, beyond
what is there before it.
"""

from __future__ import annotations

import pytest
import torch
from bench_patch_to_point import CAMERA, IMAGE_SIZE, PATCHES
from step_cost import peak_mb
from torch.testing import assert_close
from workloads import POINT_CLOUD_RANGE, SCALES, SPATIAL_SHAPE, scan

from elite.distill import DistillConfig, Distiller
from elite.types import Batch, CameraBatch, StageOutput, StudentOutput
from elite_ops import build_segments, project_points, voxelize
from tests.elite.plain_distill import plain_distillation


def workload(device: torch.device, dense: bool) -> tuple[Batch, StudentOutput, list[torch.Tensor]]:
    _, points = scan()
    torch.manual_seed(0)
    pixel, shown = project_points(points, CAMERA, IMAGE_SIZE)
    point_index = shown.nonzero().flatten()
    pseudo_labels = torch.randint(0, 20, (1, *IMAGE_SIZE))
    camera = CameraBatch(
        images=torch.zeros(1, 3, *IMAGE_SIZE, dtype=torch.uint8),
        pixel=pixel[shown],
        point_index=point_index,
        image_index=torch.zeros_like(point_index),
        pseudo_labels=pseudo_labels if dense else None,
    )
    batch_index = torch.zeros(len(points), dtype=torch.int64)
    labels = torch.randint(0, 20, (len(points),))
    batch = Batch(points, batch_index, 1, ["scan"], labels, camera).to(device)
    voxels = voxelize(
        batch.points,
        point_cloud_range=POINT_CLOUD_RANGE,
        spatial_shape=SPATIAL_SHAPE,
        scales=SCALES[:4],
    )
    stages = [
        StageOutput(
            torch.randn(len(v.indices), 64, device=device, requires_grad=True),
            build_segments(v.point_rows, len(v.indices)),
        )
        for v in voxels
    ]
    output = StudentOutput(torch.zeros(0), voxels[0].point_rows >= 0, stages)
    maps = [torch.randn(1, *PATCHES, device=device, requires_grad=True) for _ in range(4)]
    return batch, output, maps


@pytest.mark.benchmark(group="distillation, forward and backward")
@pytest.mark.parametrize("implementation", ["elite", "plain"])
@pytest.mark.parametrize("labels", ["points", "dense"])
def bench_distillation(timed, device, labels, implementation):
    batch, output, maps = workload(device, labels == "dense")
    distiller = Distiller(DistillConfig(), torch.ones(20)).to(device)
    leaves = [*distiller.parameters(), *(s.features for s in output.stages), *maps]
    forms = {
        "elite": lambda: distiller(output, maps, batch).total,
        "plain": lambda: plain_distillation(distiller, output, maps, batch)["total"],
    }

    def step() -> torch.Tensor:
        loss = forms[implementation]()
        torch.autograd.grad(loss, leaves)
        return loss.detach()

    info = {"peak_mb": peak_mb(step, device), "labels": labels}
    info["projected_points"] = len(batch.camera.pixel)
    loss = timed(step, **info)
    assert_close(loss, forms["elite"]().detach(), rtol=1e-4, atol=1e-5)
