"""nms against its definition, on boxes as a mask generator proposes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elite_ops import nms
from elite_ops.reference.nms import nms as reference

IMPLEMENTATIONS = {"elite_ops": nms, "reference": reference}
IMAGE_SIZE = torch.tensor([1024.0, 320.0])  # x, y in pixels
PROPOSALS_PER_OBJECT = 20


def proposals(num_boxes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Objects of 10 to 200 pixels, each with several boxes that differ by a few pixels."""
    generator = torch.Generator().manual_seed(0)
    num_objects = num_boxes // PROPOSALS_PER_OBJECT
    centres = torch.rand(num_objects, 2, generator=generator) * IMAGE_SIZE
    sizes = 10 + 190 * torch.rand(num_objects, 2, generator=generator) ** 2
    boxes = torch.cat([centres - sizes / 2, centres + sizes / 2], dim=1)
    boxes = boxes.repeat(PROPOSALS_PER_OBJECT, 1)
    boxes += 3 * torch.randn(boxes.shape, generator=generator)
    return boxes.to(device), torch.rand(len(boxes), generator=generator).to(device)


@pytest.mark.benchmark(group="nms")
@pytest.mark.parametrize("num_boxes", [1000, 5000])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_nms(timed, device, implementation, num_boxes):
    boxes, scores = proposals(num_boxes, device)
    timed(IMPLEMENTATIONS[implementation], boxes, scores, 0.7, boxes=num_boxes)
