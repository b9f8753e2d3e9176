"""Segment Anything's image encoder on a crop of its image, with the outputs of its stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from elite.teacher.attention import RelativeAttention
from elite.teacher.backbone import Backbone, run_block
from elite.teacher.checkpoint import CheckpointReport, load_sam
from elite.teacher.sam import SAM_SIZES, SamSize, build_sam, randomize_tables

__all__ = ["SamEncoder"]

ADAPTABLE: Mapping[str, str] = {
    **{name: rf"blocks\.\d+\.attn\.{name}" for name in ("q", "k", "v", "proj")},
    **{name: rf"blocks\.\d+\.mlp\.{name}" for name in ("lin1", "lin2")},
}
# Parts of a checkpoint that a teacher has no use for.
UNUSED = ("image_encoder.neck.", "prompt_encoder.", "mask_decoder.")


class SamEncoder(Backbone):
    """The vision transformer of Segment Anything, without its neck.

    Only the tokens of the given image are computed, not the 64 x 64 of the square that the encoder
    was trained on: the upper left of its absolute positions, and the centre of its tables of
    relative ones, are what a crop needs. The stages are the blocks with global attention.

    Args:
        size: of the encoder.
        checkpoint: an official file, or none for random weights.
        paper_parity: see `TeacherConfig`.
        gradient_checkpointing: see `TeacherConfig`.
        seed: of random weights.
    """

    pixel_mean = (123.675, 116.28, 103.53)
    pixel_std = (58.395, 57.12, 57.375)
    adaptable = ADAPTABLE

    def __init__(
        self,
        size: SamSize,
        checkpoint: str | Path | None = None,
        *,
        paper_parity: bool = False,
        gradient_checkpointing: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        shape = SAM_SIZES[size]
        self.channels = shape.embed_dim
        self.num_stages = len(shape.global_blocks)
        self.global_blocks = shape.global_blocks
        self.gradient_checkpointing = gradient_checkpointing
        sam = _random_sam(size, seed) if checkpoint is None else load_sam(size, checkpoint)
        if checkpoint is not None:
            self.report = CheckpointReport.of(sam.state_dict(), UNUSED)
        encoder = cast("nn.Module", sam.image_encoder)
        self.patch_embed = cast("nn.Module", encoder.patch_embed)
        self.pos_embed = cast("nn.Parameter", encoder.pos_embed)  # [1, 64, 64, C]
        self.blocks = cast("nn.ModuleList", encoder.blocks)
        for block in self.blocks:
            block.attn = RelativeAttention(cast("nn.Module", block.attn), paper_parity)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        tokens = self.patch_embed(images)  # [B, h, w, C]
        _, height, width, _ = tokens.shape
        _, rows, columns, _ = self.pos_embed.shape
        if height > rows or width > columns:
            raise ValueError(
                f"teacher: `images` must be at most {rows * 16} x {columns * 16} pixels, "
                f"got {height * 16} x {width * 16}"
            )
        tokens = tokens + self.pos_embed[:, :height, :width]
        stages = []
        for i, block in enumerate(self.blocks):
            tokens = run_block(block, tokens, self.gradient_checkpointing)
            if i in self.global_blocks:
                stages.append(tokens.permute(0, 3, 1, 2))
        return stages

    def cut(self, num_stages: int) -> None:
        self.num_stages = num_stages
        self.global_blocks = self.global_blocks[:num_stages]
        self.blocks = self.blocks[: self.global_blocks[-1] + 1]


def _random_sam(size: SamSize, seed: int) -> nn.Module:
    """Random weights that are a function of `seed` alone; torch's global stream stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sam = build_sam(size)
        randomize_tables(sam)
    return sam
