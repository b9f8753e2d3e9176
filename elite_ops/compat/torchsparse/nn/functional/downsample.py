"""The voxels of a coarser stride."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from elite_ops.compat.torchsparse._maps import downsample
from elite_ops.compat.torchsparse.nn.functional.conv_config import complete
from elite_ops.compat.torchsparse.utils import make_ntuple
from elite_ops.compat.torchsparse.versions import convention

__all__ = ["spdownsample"]


def spdownsample(
    coords: Tensor,  # [V, 4] int32
    stride: int | Sequence[int] = 2,
    kernel_size: int | Sequence[int] = 2,
    padding: int | Sequence[int] | None = None,
    spatial_range: Sequence[int] | None = None,
    downsample_mode: str = "spconv",
    *,
    tensor_stride: int | Sequence[int] | None = None,
) -> Tensor:  # [V_out, 4] int32
    """The output voxels of a strided convolution, in order of (batch, x, y, z).

    Args:
        coords: the input's.
        stride: of the convolution; like the next three one number, or one per axis.
        kernel_size: of the convolution.
        padding: of the convolution (2.1, 0 where left out). In 1.4 the fourth argument is
            `tensor_stride`.
        spatial_range: samples, and cells along x, y, z (2.1).
        downsample_mode: "spconv" or "minkowski" (2.1); see `ConvConfig`.
        tensor_stride: of the input (1.4, 1 where left out).
    """
    if not convention().counts_strides:
        padding, tensor_stride = None, tensor_stride or padding
    return downsample(
        coords,
        make_ntuple(tensor_stride or 1, ndim=3),
        None if spatial_range is None else tuple(spatial_range),
        make_ntuple(kernel_size, ndim=3),
        make_ntuple(stride, ndim=3),
        make_ntuple(padding or 0, ndim=3),
        complete({"kmap_mode": "hashmap", "downsample_mode": downsample_mode}),
    )
