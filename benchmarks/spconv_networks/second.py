"""SECOND's sparse encoder, with axes z, y, x as in detectors on spconv."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

__all__ = ["Second"]


class Second(nn.Module):
    """`sparse_shape` is that of the voxels, along z, y, x."""

    def __init__(
        self,
        spconv: Any,
        in_channels: int,
        sparse_shape: list[int],
        widths: tuple[int, int, int, int] = (16, 32, 64, 64),
        out_channels: int = 128,
    ) -> None:
        super().__init__()
        self.spconv = spconv
        self.sparse_shape = sparse_shape
        norm_fn = partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01)
        w1, w2, w3, w4 = widths

        def subm(c_in: int, c_out: int, key: str) -> Any:
            conv = spconv.SubMConv3d(c_in, c_out, 3, padding=1, bias=False, indice_key=key)
            return spconv.SparseSequential(conv, norm_fn(c_out), nn.ReLU())

        def down(c_in: int, c_out: int, key: str, kernel: Any = 3, **options: Any) -> Any:
            conv = spconv.SparseConv3d(c_in, c_out, kernel, bias=False, indice_key=key, **options)
            return spconv.SparseSequential(conv, norm_fn(c_out), nn.ReLU())

        self.conv_input = subm(in_channels, w1, "subm1")
        self.conv1 = spconv.SparseSequential(subm(w1, w1, "subm1"))
        self.conv2 = spconv.SparseSequential(
            down(w1, w2, "spconv2", stride=2, padding=1),
            subm(w2, w2, "subm2"),
            subm(w2, w2, "subm2"),
        )
        self.conv3 = spconv.SparseSequential(
            down(w2, w3, "spconv3", stride=2, padding=1),
            subm(w3, w3, "subm3"),
            subm(w3, w3, "subm3"),
        )
        self.conv4 = spconv.SparseSequential(
            down(w3, w4, "spconv4", stride=2, padding=(0, 1, 1)),
            subm(w4, w4, "subm4"),
            subm(w4, w4, "subm4"),
        )
        self.conv_out = down(
            w4, out_channels, "spconv_down2", (3, 1, 1), stride=(2, 1, 1), padding=0
        )

    def forward(self, voxel_features: Tensor, voxel_coords: Tensor, batch_size: int) -> Tensor:
        x = self.spconv.SparseConvTensor(
            features=voxel_features,
            indices=voxel_coords.int(),
            spatial_shape=self.sparse_shape,
            batch_size=batch_size,
        )
        x = self.conv1(self.conv_input(x))
        x = self.conv4(self.conv3(self.conv2(x)))
        spatial_features = self.conv_out(x).dense()
        n, c, d, h, w = spatial_features.shape
        return spatial_features.view(n, c * d, h, w)
