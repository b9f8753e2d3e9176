"""From tokens at stride 16 to patch features at stride 4."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PatchDecoder"]


class PatchDecoder(nn.Module):
    """Two transposed convolutions of stride 2, each of which writes every pixel once."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.upscale1 = nn.ConvTranspose2d(in_channels, hidden, kernel_size=2, stride=2)
        self.norm = LayerNorm2d(hidden)
        self.upscale2 = nn.ConvTranspose2d(hidden, out_channels, kernel_size=2, stride=2)

    def forward(self, tokens: Tensor) -> Tensor:  # [B, C_in, h, w] -> [B, C_out, 4 * h, 4 * w]
        hidden = functional.gelu(self.norm(self.upscale1(tokens)))
        return functional.gelu(self.upscale2(hidden))


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of [B, C, H, W]."""

    def __init__(self, num_channels: int) -> None:
        super().__init__(num_channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
