"""Sparse LiDAR operators with CPU and CUDA kernels: voxels, sparse convolution, fused losses."""

from elite_ops import flops as flops  # registers what the ops cost
from elite_ops._extension import build_info, on_cuda
from elite_ops.errors import check_device_errors
from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.kernel_map import KernelMap, RowOrder
from elite_ops.memory import CpuMemory, cpu_memory, empty_cpu_cache
from elite_ops.ops.add_rows import add_rows
from elite_ops.ops.confusion_matrix import confusion_matrix
from elite_ops.ops.devoxelize import devoxelize
from elite_ops.ops.distillation_loss import distillation_loss
from elite_ops.ops.encode_voxels import encode_voxels
from elite_ops.ops.hard_voxelize import HardVoxels, hard_voxelize
from elite_ops.ops.kernel_map import (
    build_kernel_map,
    build_strided_map,
    connect_voxels,
    output_voxels,
)
from elite_ops.ops.linear_fused import linear_fused
from elite_ops.ops.lovasz_softmax import lovasz_softmax
from elite_ops.ops.majority_vote import majority_vote
from elite_ops.ops.most_likely import most_likely
from elite_ops.ops.nearest_rows import nearest_rows
from elite_ops.ops.nms import nms
from elite_ops.ops.order_rows import order_rows
from elite_ops.ops.patch_to_point import patch_to_point
from elite_ops.ops.project_points import project_points
from elite_ops.ops.segment_reduce import segment_max, segment_mean, segment_min, segment_sum
from elite_ops.ops.segment_softmax import segment_logsumexp, segment_softmax
from elite_ops.ops.segments import Segments, build_all_segments, build_segments, intersect_segments
from elite_ops.ops.serialize import (
    Patches,
    Serialization,
    build_serialization,
    serialize,
)
from elite_ops.ops.sparse_conv import sparse_conv, sparse_conv_fused
from elite_ops.ops.sparse_depthwise_conv import sparse_depthwise_conv
from elite_ops.ops.sparse_pool import (
    global_avg_pool,
    global_max_pool,
    sparse_avg_pool,
    sparse_max_pool,
)
from elite_ops.ops.transition import PointTransition, Transition, build_transition, transition
from elite_ops.ops.voxel_to_point import gather_segments, voxel_to_point
from elite_ops.ops.voxelize import voxelize
from elite_ops.registration import refuse_missing_derivatives
from elite_ops.sparse_tensor import SparseTensor, cat
from elite_ops.voxel_set import VoxelSet
from elite_ops.voxels import Voxels

__all__ = [
    "CpuMemory",
    "HardVoxels",
    "KernelGeometry",
    "KernelMap",
    "Patches",
    "PointTransition",
    "RowOrder",
    "Segments",
    "Serialization",
    "SparseTensor",
    "Transition",
    "VoxelSet",
    "Voxels",
    "add_rows",
    "build_all_segments",
    "build_info",
    "build_kernel_map",
    "build_segments",
    "build_serialization",
    "build_strided_map",
    "build_transition",
    "cat",
    "check_device_errors",
    "confusion_matrix",
    "connect_voxels",
    "cpu_memory",
    "devoxelize",
    "distillation_loss",
    "empty_cpu_cache",
    "encode_voxels",
    "gather_segments",
    "global_avg_pool",
    "global_max_pool",
    "hard_voxelize",
    "intersect_segments",
    "linear_fused",
    "lovasz_softmax",
    "majority_vote",
    "most_likely",
    "nearest_rows",
    "nms",
    "on_cuda",
    "order_rows",
    "output_voxels",
    "patch_to_point",
    "project_points",
    "segment_logsumexp",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_softmax",
    "segment_sum",
    "serialize",
    "sparse_avg_pool",
    "sparse_conv",
    "sparse_conv_fused",
    "sparse_depthwise_conv",
    "sparse_max_pool",
    "transition",
    "voxel_to_point",
    "voxelize",
]

refuse_missing_derivatives()  # now that every op has registered its own
