"""The teacher: images in, one map of patch features a stage out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from elite.errors import EliteError
from elite.teacher.backbone import TOKEN_STRIDE, Backbone
from elite.teacher.config import BackboneName, TeacherConfig
from elite.teacher.dinov2 import Dinov2Encoder, Dinov2Size
from elite.teacher.encoder import SamEncoder
from elite.teacher.feature_cache import FeatureCache
from elite.teacher.patch_decoder import PatchDecoder
from elite.teacher.peft import Adapters
from elite.teacher.sam import SamSize

__all__ = ["Teacher"]

PATCH_STRIDE = 4  # pixels


class Teacher(nn.Module):
    """A frozen image encoder, its adapters, and a patch decoder for each of its stages.

    Args:
        config: what it is made of.
        total_steps: of the run; AdaLoRA's schedule needs it.
        backbone: an encoder of your own, in place of the one that `config` names.
        stages: which of the encoder's stages 1, 2, ... are asked for, in rising order; all by
            default. The others have no decoder, and no block after the last of them is kept.

    Raises:
        EliteError: if neither a checkpoint nor random weights are chosen, or if the checkpoint does
            not fit.
        ValueError: if AdaLoRA is not told `total_steps`, or if `stages` are not the encoder's.

    Attributes:
        num_stages: of the encoder, with those that are not asked for.

    Source: ELiTe (Zhang et al., ICME 2024); Segment Anything (Kirillov et al., 2023).
    """

    pixel_mean: Tensor  # [3, 1, 1]
    pixel_std: Tensor  # [3, 1, 1]

    def __init__(
        self,
        config: TeacherConfig,
        total_steps: int | None = None,
        backbone: Backbone | None = None,
        stages: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = _build(config) if backbone is None else backbone
        self.num_stages = self.backbone.num_stages
        self.stages = _ordered(stages, self.num_stages)
        self.backbone.cut(self.stages[-1])
        self.adapters = Adapters(self.backbone, config.peft, total_steps)
        self.patch_channels = config.patch_channels
        self.decoders = nn.ModuleList(
            PatchDecoder(self.backbone.channels, config.decoder_hidden, config.patch_channels)
            for _ in self.stages
        )
        for name in ("pixel_mean", "pixel_std"):
            constant = torch.tensor(getattr(self.backbone, name)).view(3, 1, 1)
            self.register_buffer(name, constant, persistent=False)
        self.frozen = not any(p.requires_grad for p in self.backbone.parameters())
        self._cache: FeatureCache | None = None

    def forward(self, images: Tensor) -> list[Tensor]:
        """Describes images, stage by stage.

        Args:
            images: [B, 3, H, W] uint8, RGB of 0..255; H and W are multiples of 4.

        Returns:
            A map [B, patch_channels, H / 4, W / 4] for each of `stages`.

        Raises:
            TypeError: if `images` are not uint8. Numbers of 0..1 would be normalized to almost
                black images, without any other sign.
        """
        height, width = _check(images)
        if self._cache is None:
            encoded = self._encode(images)
        else:
            encoded = self._cache.stages(images, self._encode)
        rows, columns = height // PATCH_STRIDE, width // PATCH_STRIDE
        read = [encoded[stage - 1] for stage in self.stages]
        maps = [decoder(stage) for decoder, stage in zip(self.decoders, read, strict=True)]
        return [patches[..., :rows, :columns] for patches in maps]

    def regularization(self) -> Tensor:
        """What to add to the loss: AdaLoRA's orthogonality term [], or 0."""
        term = self.adapters.regularization()
        return self.pixel_mean.new_zeros(()) if term is None else term

    def after_step(self, step: int, updated: bool) -> None:
        """Allocates AdaLoRA's ranks. Call it after the optimizer's step, before `zero_grad`.

        Args:
            step: the number of finished steps, this one included.
            updated: whether the optimizer changed the weights.
        """
        self.adapters.after_step(step, updated)

    def use_cache(self, folder: str | Path, max_bytes: int = 20 * 10**9) -> FeatureCache:
        """Keeps the encoder's features in `folder` from now on; see `FeatureCache`.

        Raises:
            EliteError: if the encoder is adapted: its features change with every step.
        """
        if not self.frozen:
            raise EliteError(
                f"teacher: features of an encoder with {self.config.peft.kind} can't be kept",
                "Choose `peft.kind: none` to freeze the encoder.",
            )
        self._cache = FeatureCache(folder, self.backbone, max_bytes)
        return self._cache

    def _encode(self, images: Tensor) -> list[Tensor]:
        """Normalizes, pads to whole tokens with the mean colour, and runs the encoder."""
        x = (images.to(self.pixel_mean.dtype) - self.pixel_mean) / self.pixel_std
        bottom, right = (-size % TOKEN_STRIDE for size in x.shape[-2:])
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self.backbone(functional.pad(x, (0, right, 0, bottom)))  # type: ignore[no-any-return]


def _ordered(stages: Sequence[int] | None, num_stages: int) -> tuple[int, ...]:
    """The stages that are asked for, checked."""
    every = tuple(range(1, num_stages + 1))
    chosen = every if stages is None else tuple(stages)
    if not chosen or chosen != tuple(stage for stage in every if stage in chosen):
        raise ValueError(f"Teacher: `stages` must be of 1..{num_stages} and rise, got {chosen}")
    return chosen


def _check(images: Tensor) -> tuple[int, int]:
    if images.dtype != torch.uint8:
        raise TypeError(f"teacher: `images` must be uint8, got {images.dtype}")
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"teacher: `images` must be [B, 3, H, W], got {list(images.shape)}")
    height, width = images.shape[2:]
    if height % PATCH_STRIDE or width % PATCH_STRIDE or not height * width:
        raise ValueError(
            f"teacher: `images` must have sides of multiples of {PATCH_STRIDE}, "
            f"got {height} x {width}"
        )
    return height, width


# ---- backbones -----------------------------------------------------------------------------------


def _build_sam(size: SamSize, config: TeacherConfig) -> Backbone:
    return SamEncoder(
        size,
        config.checkpoint,
        paper_parity=config.paper_parity,
        gradient_checkpointing=config.gradient_checkpointing,
        seed=config.seed,
    )


def _build_dinov2(size: Dinov2Size, config: TeacherConfig) -> Backbone:
    if config.paper_parity:
        raise EliteError("teacher: `paper_parity` is for Segment Anything's encoder only")
    return Dinov2Encoder(
        size,
        config.checkpoint,
        gradient_checkpointing=config.gradient_checkpointing,
        seed=config.seed,
    )


BACKBONES: dict[BackboneName, Callable[[TeacherConfig], Backbone]] = {
    "sam_vit_b": partial(_build_sam, "vit_b"),
    "sam_vit_l": partial(_build_sam, "vit_l"),
    "sam_vit_h": partial(_build_sam, "vit_h"),
    "sam_test": partial(_build_sam, "test"),
    "dinov2_base": partial(_build_dinov2, "base"),
    "dinov2_test": partial(_build_dinov2, "test"),
}


def _build(config: TeacherConfig) -> Backbone:
    if (config.checkpoint is None) != config.random_weights:
        raise EliteError(
            "teacher: either `checkpoint` or `random_weights` must be chosen, "
            f"got {config.checkpoint} and {config.random_weights}",
            "docs/teacher.md says where the checkpoints are; "
            "`random_weights: true` runs without, and teaches little.",
        )
    return BACKBONES[config.backbone](config)
