"""What a teacher is made of. The defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["BackboneName", "PeftConfig", "TeacherConfig"]

BackboneName = Literal[
    "sam_vit_b", "sam_vit_l", "sam_vit_h", "sam_test", "dinov2_base", "dinov2_test"
]


@dataclass(frozen=True)
class PeftConfig:
    """How the frozen encoder is adapted.

    Attributes:
        kind: "adalora" adapts every Linear and moves rank to where it matters; "lora" adapts q and
            v with a fixed rank; "none" leaves the encoder as it is.
        init_rank: of every adapter at first (AdaLoRA).
        target_rank: on average at the end (AdaLoRA), or throughout (LoRA).
        alpha: an adapter's output is multiplied by alpha (AdaLoRA) or alpha / rank (LoRA).
        warmup: part of the steps before ranks begin to fall.
        final: part of the steps, the last ones, with ranks as they are.
        interval: part of the steps between two allocations of rank.
        beta1: smoothing of an element's importance from step to step.
        beta2: smoothing of how much it varies.
        orthogonality_weight: of the term that keeps singular vectors orthogonal.
    """

    kind: Literal["adalora", "lora", "none"] = "adalora"
    init_rank: int = 12
    target_rank: int = 8
    alpha: int = 8
    warmup: float = 1 / 6
    final: float = 1 / 2
    interval: float = 1 / 300
    beta1: float = 0.85
    beta2: float = 0.85
    orthogonality_weight: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.target_rank <= self.init_rank:
            raise ValueError(
                f"PeftConfig: `target_rank` must be in 1..`init_rank`, "
                f"got {self.target_rank} of {self.init_rank}"
            )
        if min(self.warmup, self.final) < 0 or self.warmup + self.final >= 1:
            raise ValueError(
                f"PeftConfig: `warmup` and `final` must leave steps between them, "
                f"got {self.warmup} and {self.final}"
            )


@dataclass(frozen=True)
class TeacherConfig:
    """A backbone, its adapters and its patch decoders.

    Attributes:
        backbone: which image encoder; those named `test` are tiny, and have no published weights.
        checkpoint: an official `.pth` file of Segment Anything, or a folder with DINOv2's files.
        random_weights: go without a checkpoint. A choice to make, never a fallback.
        seed: of the random weights.
        peft: how the encoder is adapted.
        paper_parity: stretch the position tables to the crop, as the authors' code does.
        gradient_checkpointing: compute each block twice rather than keep what it computes.
        patch_channels: of a stage's map.
        decoder_hidden: channels between a patch decoder's two layers.
    """

    backbone: BackboneName = "sam_vit_b"
    checkpoint: str | None = None
    random_weights: bool = False
    seed: int = 0
    peft: PeftConfig = field(default_factory=PeftConfig)
    paper_parity: bool = False
    gradient_checkpointing: bool = False
    patch_channels: int = 96
    decoder_hidden: int = 192
