"""One row for each sample."""

from __future__ import annotations

from torch import Tensor

from elite_ops.compat.torchsparse.tensor import SparseTensor
from elite_ops.compat.torchsparse.versions import convention
from elite_ops.ops.segment_reduce import segment_max, segment_mean
from elite_ops.ops.segments import Segments

__all__ = ["global_avg_pool", "global_max_pool"]


def global_avg_pool(inputs: SparseTensor) -> Tensor:  # [B, C]
    """The mean over the voxels of each sample; 0 of a sample without one."""
    return segment_mean(inputs.feats, samples(inputs))


def global_max_pool(inputs: SparseTensor) -> Tensor:  # [B, C]
    """The maximum over the voxels of each sample; 0 of a sample without one."""
    return segment_max(inputs.feats, samples(inputs))


def samples(input: SparseTensor) -> Segments:
    """The voxels of each sample."""
    return Segments.from_coo(input.coords[:, convention().batch_column])
