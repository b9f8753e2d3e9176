"""Sparse LiDAR operators with CPU and CUDA kernels: voxels, sparse convolution, fused losses."""

from elite_ops._extension import build_info
from elite_ops.errors import check_device_errors
from elite_ops.ops.lovasz_softmax import lovasz_softmax
from elite_ops.ops.nms import nms

__all__ = [
    "build_info",
    "check_device_errors",
    "lovasz_softmax",
    "nms",
]
