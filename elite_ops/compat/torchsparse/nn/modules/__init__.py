"""torchsparse.nn.modules."""

from elite_ops.compat.torchsparse.nn.modules.activation import LeakyReLU, ReLU, SiLU
from elite_ops.compat.torchsparse.nn.modules.bev import (
    ToBEVConvolution,
    ToBEVHeightCompression,
    ToBEVReduction,
    ToDenseBEVConvolution,
)
from elite_ops.compat.torchsparse.nn.modules.conv import Conv3d
from elite_ops.compat.torchsparse.nn.modules.crop import SparseCrop
from elite_ops.compat.torchsparse.nn.modules.norm import BatchNorm, GroupNorm, InstanceNorm
from elite_ops.compat.torchsparse.nn.modules.pooling import GlobalAvgPool, GlobalMaxPool

__all__ = [
    "BatchNorm",
    "Conv3d",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "InstanceNorm",
    "LeakyReLU",
    "ReLU",
    "SiLU",
    "SparseCrop",
    "ToBEVConvolution",
    "ToBEVHeightCompression",
    "ToBEVReduction",
    "ToDenseBEVConvolution",
]
