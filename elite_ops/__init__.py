"""Sparse LiDAR operators with CPU and CUDA kernels: voxels, sparse convolution, fused losses."""

from elite_ops._extension import build_info, on_cuda
from elite_ops.errors import check_device_errors
from elite_ops.kernel_map import KernelMap, RowGroups
from elite_ops.memory import CpuMemory, cpu_memory, empty_cpu_cache
from elite_ops.ops.confusion_matrix import confusion_matrix
from elite_ops.ops.distillation_loss import distillation_loss
from elite_ops.ops.encode_voxels import encode_voxels
from elite_ops.ops.group_rows import group_rows
from elite_ops.ops.kernel_map import build_kernel_map
from elite_ops.ops.linear_fused import linear_fused
from elite_ops.ops.lovasz_softmax import lovasz_softmax
from elite_ops.ops.majority_vote import majority_vote
from elite_ops.ops.nearest_rows import nearest_rows
from elite_ops.ops.nms import nms
from elite_ops.ops.patch_to_point import patch_to_point
from elite_ops.ops.project_points import project_points
from elite_ops.ops.segment_reduce import segment_max, segment_mean, segment_min, segment_sum
from elite_ops.ops.segment_softmax import segment_logsumexp, segment_softmax
from elite_ops.ops.segments import Segments, build_all_segments, build_segments, intersect_segments
from elite_ops.ops.sparse_conv import sparse_conv, sparse_conv_fused
from elite_ops.ops.transition import PointTransition, Transition, build_transition, transition
from elite_ops.ops.voxel_to_point import gather_segments, voxel_to_point
from elite_ops.ops.voxelize import voxelize
from elite_ops.sparse_tensor import SparseTensor
from elite_ops.voxels import Voxels

__all__ = [
    "CpuMemory",
    "KernelMap",
    "PointTransition",
    "RowGroups",
    "Segments",
    "SparseTensor",
    "Transition",
    "Voxels",
    "build_all_segments",
    "build_info",
    "build_kernel_map",
    "build_segments",
    "build_transition",
    "check_device_errors",
    "confusion_matrix",
    "cpu_memory",
    "distillation_loss",
    "empty_cpu_cache",
    "encode_voxels",
    "gather_segments",
    "group_rows",
    "intersect_segments",
    "linear_fused",
    "lovasz_softmax",
    "majority_vote",
    "nearest_rows",
    "nms",
    "on_cuda",
    "patch_to_point",
    "project_points",
    "segment_logsumexp",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_softmax",
    "segment_sum",
    "sparse_conv",
    "sparse_conv_fused",
    "transition",
    "voxel_to_point",
    "voxelize",
]
