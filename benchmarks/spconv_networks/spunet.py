"""SpUNet, with axes x, y, z as segmentation networks on spconv have them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SpUNet"]

norm_fn = partial(nn.BatchNorm1d, eps=1e-3, momentum=0.01)


def basic_block(spconv: Any, in_channels: int, embed_channels: int, indice_key: str) -> Any:
    """A block, of a class that is derived from the library's `SparseModule`."""

    class BasicBlock(spconv.SparseModule):
        def __init__(self) -> None:
            super().__init__()
            if in_channels == embed_channels:
                self.proj = spconv.SparseSequential(nn.Identity())
            else:
                self.proj = spconv.SparseSequential(
                    spconv.SubMConv3d(in_channels, embed_channels, kernel_size=1, bias=False),
                    norm_fn(embed_channels),
                )
            conv = partial(spconv.SubMConv3d, kernel_size=3, padding=1, bias=False)
            self.conv1 = conv(in_channels, embed_channels, indice_key=indice_key)
            self.bn1 = norm_fn(embed_channels)
            self.relu = nn.ReLU()
            self.conv2 = conv(embed_channels, embed_channels, indice_key=indice_key)
            self.bn2 = norm_fn(embed_channels)

        def forward(self, x: Any) -> Any:
            residual = x
            out = self.conv1(x)
            out = out.replace_feature(self.bn1(out.features))
            out = out.replace_feature(self.relu(out.features))
            out = self.conv2(out)
            out = out.replace_feature(self.bn2(out.features))
            out = out.replace_feature(out.features + self.proj(residual).features)
            return out.replace_feature(self.relu(out.features))

    return BasicBlock()


class SpUNet(nn.Module):
    """`spatial_shape` is that of the voxels, along x, y, z."""

    def __init__(
        self,
        spconv: Any,
        in_channels: int,
        num_classes: int,
        spatial_shape: list[int],
        base_channels: int = 32,
        channels: Sequence[int] = (32, 64, 128, 256, 256, 128, 96, 96),
        layers: Sequence[int] = (2, 3, 4, 6, 2, 2, 2, 2),
    ) -> None:
        super().__init__()
        self.spconv = spconv
        self.spatial_shape = spatial_shape
        self.num_stages = len(layers) // 2
        self.conv_input = spconv.SparseSequential(
            spconv.SubMConv3d(
                in_channels, base_channels, 5, padding=1, bias=False, indice_key="stem"
            ),
            norm_fn(base_channels),
            nn.ReLU(),
        )
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.enc, self.dec = nn.ModuleList(), nn.ModuleList()
        enc_channels = base_channels
        widths = [base_channels, *channels[: self.num_stages]]
        for s in range(self.num_stages):
            key = f"spconv{s + 1}"
            self.down.append(
                spconv.SparseSequential(
                    spconv.SparseConv3d(
                        enc_channels, channels[s], 2, stride=2, bias=False, indice_key=key
                    ),
                    norm_fn(channels[s]),
                    nn.ReLU(),
                )
            )
            enc_channels = channels[s]
            block = partial(basic_block, spconv, indice_key=f"subm{s + 1}")
            blocks = [(f"{i}", block(enc_channels, enc_channels)) for i in range(layers[s])]
            self.enc.append(spconv.SparseSequential(OrderedDict(blocks)))
        dec_channels = channels[self.num_stages - 1]
        for s in range(self.num_stages):
            coarse, width = self.num_stages - s, channels[self.num_stages + s]
            self.up.append(
                spconv.SparseSequential(
                    spconv.SparseInverseConv3d(
                        dec_channels, width, 2, bias=False, indice_key=f"spconv{coarse}"
                    ),
                    norm_fn(width),
                    nn.ReLU(),
                )
            )
            dec_channels = width
            block = partial(basic_block, spconv, indice_key=f"subm{coarse - 1}")
            inputs = [width + widths[coarse - 1]] + [width] * (layers[self.num_stages + s] - 1)
            blocks = [(f"{i}", block(c_in, width)) for i, c_in in enumerate(inputs)]
            self.dec.append(spconv.SparseSequential(OrderedDict(blocks)))
        self.final = spconv.SubMConv3d(dec_channels, num_classes, kernel_size=1, bias=True)

    def forward(self, feat: Tensor, indices: Tensor, batch_size: int) -> Tensor:
        x = self.spconv.SparseConvTensor(
            features=feat,
            indices=indices.int().contiguous(),
            spatial_shape=self.spatial_shape,
            batch_size=batch_size,
        )
        x = self.conv_input(x)
        skips = [x]
        for s in range(self.num_stages):
            x = self.enc[s](self.down[s](x))
            skips.append(x)
        x = skips.pop(-1)
        for s in range(self.num_stages):
            x = self.up[s](x)
            skip = skips.pop(-1)
            x = x.replace_feature(torch.cat((x.features, skip.features), dim=1))
            x = self.dec[s](x)
        features: Tensor = self.final(x).features
        return features
