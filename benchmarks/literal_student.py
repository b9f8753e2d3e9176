"""The student as its definition reads: every MLP and mean at the points, nothing folded or moved.

The same modules and ops as `Student`, so the difference is the formulation alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from elite.student import Student
from elite_ops import SparseTensor, segment_mean, voxel_to_point

__all__ = ["literal_student"]


def literal_student(student: Student, points: Tensor, batch_index: Tensor) -> Tensor:
    """Logits [N, num_classes] of one scan; rows of points outside the range mean nothing."""
    pyramid = student.pyramid(points, batch_index, 1)
    features = student.point_features(points, pyramid.levels[0])
    outputs = []
    for i, block in enumerate(student.blocks):
        fine, coarse = pyramid.levels[i].points, pyramid.levels[i + 1].points
        x = SparseTensor.from_voxels(features, pyramid.levels[i].voxels, 1)
        stage = block.voxel_branch(x).features
        mixed = block.point_branch(features + stage, pyramid.steps[i])
        at_points = block.point_branch.output(voxel_to_point(mixed, fine))
        output = segment_mean(at_points, coarse)
        features = output + segment_mean(voxel_to_point(stage, fine), coarse)
        outputs.append(voxel_to_point(output, coarse))
    hidden = F.relu(student.head.hidden(torch.cat(outputs, dim=1)))
    logits: Tensor = student.head.logits(hidden)
    return logits
