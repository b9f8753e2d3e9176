"""The weights that a training starts from."""

from __future__ import annotations

import torch
from torch import nn

from elite.student import Student

__all__ = ["initialize"]

NEGATIVE_SLOPE = 0.1  # of the student's activations
LAST_LAYER = 0.01  # standard deviation: the first predictions are almost uniform


@torch.no_grad()
def initialize(student: Student) -> None:
    """Draws weights that keep the size of the signal from layer to layer.

    Torch's own draw shrinks it at each of the linear layers, and it knows nothing of the inputs:
    metres up to 50 beside offsets of centimetres. Each column of the first layer is therefore
    divided by the usual size of its feature. In a short training this saves half of the steps.
    """
    for module in student.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(student.head.logits.weight, std=LAST_LAYER)
    first = student.point_features.mlp[0]
    assert isinstance(first, nn.Linear)
    first.weight.div_(_feature_sizes(student).to(first.weight))


def _feature_sizes(student: Student) -> torch.Tensor:  # [10]
    """The usual size of x, y, z, remission, the offsets from the mean and from the corner."""
    config = student.config
    low, high = torch.tensor(config.point_cloud_range).view(2, 3)
    extent = high - low
    voxel_size = extent / torch.tensor(config.spatial_shape)
    remission = torch.tensor([0.3])
    return torch.cat([extent / 6, remission, 0.3 * voxel_size, 0.5 * voxel_size])
