"""VoxelNeXt, with axes z, y, x as in detectors on spconv."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["VoxelNeXt"]

norm_fn = partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01)


def basic_block(spconv: Any, planes: int, indice_key: str) -> Any:
    """A block, of a class that is derived from the library's `SparseModule`."""

    class SparseBasicBlock(spconv.SparseModule):
        def __init__(self) -> None:
            super().__init__()
            conv = partial(spconv.SubMConv3d, planes, planes, 3, padding=1, bias=False)
            self.conv1 = conv(indice_key=indice_key)
            self.bn1 = norm_fn(planes)
            self.relu = nn.ReLU()
            self.conv2 = conv(indice_key=indice_key)
            self.bn2 = norm_fn(planes)

        def forward(self, x: Any) -> Any:
            out = self.conv1(x)
            out = out.replace_feature(self.relu(self.bn1(out.features)))
            out = self.conv2(out)
            out = out.replace_feature(self.bn2(out.features))
            return out.replace_feature(self.relu(out.features + x.features))

    return SparseBasicBlock()


class VoxelNeXt(nn.Module):
    """`sparse_shape` is that of the voxels, along z, y, x; `heads` has the outputs of each head."""

    def __init__(
        self,
        spconv: Any,
        in_channels: int,
        sparse_shape: list[int],
        heads: dict[str, int],
        widths: tuple[int, int, int, int] = (16, 32, 64, 128),
    ) -> None:
        super().__init__()
        self.spconv = spconv
        self.sparse_shape = sparse_shape
        w1, w2, w3, w4 = widths

        def normed(conv: Any, channels: int) -> Any:
            return spconv.SparseSequential(conv, norm_fn(channels), nn.ReLU())

        def stage(c_in: int, c_out: int, number: int) -> Any:
            conv = spconv.SparseConv3d(
                c_in, c_out, 3, stride=2, padding=1, bias=False, indice_key=f"spconv{number}"
            )
            block = partial(basic_block, spconv, c_out, f"res{number}")
            return spconv.SparseSequential(normed(conv, c_out), block(), block())

        subm2d = partial(spconv.SubMConv2d, w4, kernel_size=3, padding=1)
        self.conv_input = normed(
            spconv.SubMConv3d(in_channels, w1, 3, padding=1, bias=False, indice_key="subm1"), w1
        )
        block = partial(basic_block, spconv, w1, "res1")
        self.conv1 = spconv.SparseSequential(block(), block())
        self.conv2 = stage(w1, w2, 2)
        self.conv3 = stage(w2, w3, 3)
        self.conv4 = stage(w3, w4, 4)
        self.conv5 = stage(w4, w4, 5)
        self.conv6 = stage(w4, w4, 6)
        self.conv_out = normed(
            spconv.SparseConv2d(
                w4, w4, 3, stride=1, padding=1, bias=False, indice_key="spconv_down2"
            ),
            w4,
        )
        self.shared_conv = normed(subm2d(w4, bias=False, indice_key="plane"), w4)
        self.heads = nn.ModuleDict()
        for name, outputs in heads.items():
            conv = normed(subm2d(w4, bias=False, indice_key="plane"), w4)
            out = subm2d(outputs, bias=True, indice_key="plane")
            self.heads[name] = nn.ModuleDict({"conv": conv, "out": out})

    def bev_out(self, x_conv: Any, features: Tensor, indices: Tensor) -> Any:
        """The voxels summed over the height."""
        plane, inverse = torch.unique(indices[:, [0, 2, 3]], dim=0, return_inverse=True)
        summed = features.new_zeros(len(plane), features.shape[1])
        return self.spconv.SparseConvTensor(
            features=summed.index_add(0, inverse, features),
            indices=plane,
            spatial_shape=x_conv.spatial_shape[1:],
            batch_size=x_conv.batch_size,
        )

    def forward(
        self, voxel_features: Tensor, voxel_coords: Tensor, batch_size: int
    ) -> dict[str, Any]:
        x = self.spconv.SparseConvTensor(
            features=voxel_features,
            indices=voxel_coords.int(),
            spatial_shape=self.sparse_shape,
            batch_size=batch_size,
        )
        x = self.conv3(self.conv2(self.conv1(self.conv_input(x))))
        x4 = self.conv4(x)
        x5 = self.conv5(x4)
        x6 = self.conv6(x5)
        x5.indices[:, 1:] *= 2
        x6.indices[:, 1:] *= 4
        features = torch.cat([x4.features, x5.features, x6.features])
        indices = torch.cat([x4.indices, x5.indices, x6.indices])
        plane = self.shared_conv(self.conv_out(self.bev_out(x4, features, indices)))
        return {name: head["out"](head["conv"](plane)) for name, head in self.heads.items()}
