"""Everything that a training run depends on; a run folder keeps it as config.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from elite.data import AugmentationConfig, CutMixConfig
from elite.student import StudentConfig

__all__ = ["DataConfig", "OptimizerConfig", "TrainConfig"]


@dataclass(frozen=True)
class DataConfig:
    """Where the scans are, and how many at a time.

    Attributes:
        roots: folders that hold `sequences/`; their scans are put together.
        spec: the data set's YAML, or the name of a shipped one.
        train_split: a split of the data set, or sequences as in "00,01".
        val_split: likewise; null trains without validation.
        batch_size: scans a step and process.
        num_workers: processes that read and augment; 0 does it in the training process.
        class_counts: points per class for the class weights: those of the data set's YAML, or
            counted in the training scans (for data whose frequencies differ from the data set's).
    """

    roots: tuple[str, ...]
    spec: str = "semantic_kitti"
    train_split: str = "train"
    val_split: str | None = "val"
    batch_size: int = 8
    num_workers: int = 4
    class_counts: Literal["spec", "scans"] = "spec"


@dataclass(frozen=True)
class OptimizerConfig:
    """The optimizer; its learning rate rises linearly and falls as a cosine, step by step.

    Attributes:
        name: "sgd", as ELiTe is trained, or "adamw", which gets further in a few hundred steps.
        lr: the highest learning rate.
        momentum: of SGD, as is `nesterov`.
        betas: of AdamW: how long it remembers gradients and their squares. A few hundred steps need
            a shorter memory than torch's default.
        warmup_epochs: epochs, or a fraction of one, in which the learning rate rises.
        clip_norm: gradients are scaled down to this norm.
        accumulate: batches whose gradients are averaged before a step.
        ema_decay: validate and keep a running average of the student's weights that forgets at this
            rate, such as 0.999; null keeps the latest ones.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.24
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4
    epochs: int = 64
    warmup_epochs: float = 1.0
    clip_norm: float = 1.0
    accumulate: int = 1
    ema_decay: float | None = None


@dataclass(frozen=True)
class TrainConfig:
    """A run.

    Attributes:
        lovasz_weight: weight of the Lovász term beside the cross-entropy.
        precision: of the networks' forward and backward pass; losses are in float32 in any case.
        max_skipped: steps in a row with gradients that are not finite, after which the run ends.
        validate_every: epochs between validations; the beginning and the last epoch always are.
        checkpoint_every: steps between checkpoints; every epoch ends with one in any case.
        log_every: steps between lines of metrics.jsonl.
    """

    data: DataConfig
    student: StudentConfig = field(default_factory=StudentConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    cut_mix: CutMixConfig = field(default_factory=CutMixConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    lovasz_weight: float = 0.1
    precision: Literal["no", "fp16", "bf16"] = "no"
    max_skipped: int = 50
    seed: int = 0
    validate_every: int = 1
    checkpoint_every: int = 500
    log_every: int = 10
