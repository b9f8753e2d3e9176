"""Normalization."""

from __future__ import annotations

from torch import nn

from elite_ops.compat.torchsparse.nn.functional.pooling import samples
from elite_ops.compat.torchsparse.nn.utils import fapply
from elite_ops.compat.torchsparse.tensor import SparseTensor
from elite_ops.ops.segment_reduce import segment_mean
from elite_ops.ops.voxel_to_point import voxel_to_point

__all__ = ["BatchNorm", "GroupNorm", "InstanceNorm"]


class BatchNorm(nn.BatchNorm1d):
    def forward(self, input: SparseTensor) -> SparseTensor:  # type: ignore[override]
        return fapply(input, super().forward)


class InstanceNorm(nn.InstanceNorm1d):
    """As torchsparse's: of all voxels of all samples, taken for the channels of one."""

    def forward(self, input: SparseTensor) -> SparseTensor:  # type: ignore[override]
        return fapply(input, super().forward)


class GroupNorm(nn.GroupNorm):
    """Normalizes groups of channels over all voxels of a sample."""

    def forward(self, input: SparseTensor) -> SparseTensor:  # type: ignore[override]
        segments = samples(input)
        groups = input.feats.unflatten(1, (self.num_groups, -1))  # type: ignore[no-untyped-call]
        means = voxel_to_point(segment_mean(groups.mean(2), segments), segments)
        deviations = groups - means[:, :, None]
        squares = segment_mean(deviations.square().mean(2), segments)
        scale = voxel_to_point((squares + self.eps).rsqrt(), segments)
        feats = (deviations * scale[:, :, None]).flatten(1)
        return input.replace(feats * self.weight + self.bias if self.affine else feats)
