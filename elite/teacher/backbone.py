"""What an image encoder must offer to teach."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from elite.teacher.checkpoint import CheckpointReport

__all__ = ["TOKEN_STRIDE", "Backbone"]

TOKEN_STRIDE = 16  # pixels


class Backbone(nn.Module, ABC):
    """A frozen image encoder whose tokens are read at several depths.

    Attributes:
        channels: of a token.
        num_stages: how many depths there are.
        pixel_mean: of each colour, for images of 0..255.
        pixel_std: of each colour, for images of 0..255.
        adaptable: which Linears an adapter may be put on: a word such as "q", and a regular
            expression that their whole names match. The words "q" and "v" are LoRA's.
        report: what was loaded; none where the weights are random.
    """

    channels: int
    num_stages: int
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    adaptable: Mapping[str, str]
    report: CheckpointReport | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Encodes images.

        Args:
            images: [B, 3, H, W] float, normalized; H and W are multiples of 16.

        Returns:
            `num_stages` maps [B, channels, H / 16, W / 16], the shallow ones first.
        """
