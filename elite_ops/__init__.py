"""Sparse LiDAR operators with CPU and CUDA kernels: voxels, sparse convolution, fused losses."""

from elite_ops._extension import build_info
from elite_ops.errors import check_device_errors
from elite_ops.kernel_map import KernelMap
from elite_ops.ops.lovasz_softmax import lovasz_softmax
from elite_ops.ops.nms import nms
from elite_ops.ops.sparse_conv import sparse_conv, sparse_conv_fused

__all__ = [
    "KernelMap",
    "build_info",
    "check_device_errors",
    "lovasz_softmax",
    "nms",
    "sparse_conv",
    "sparse_conv_fused",
]
