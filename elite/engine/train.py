"""Trains the student alone, on one device or several."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.utils.data import Subset

from elite.data import (
    DatasetSpec,
    EpochSampler,
    SemanticKitti,
    TrainingScans,
    class_weights,
    training_loader,
    validation_loader,
)
from elite.engine.checkpoint import Progress, load_state, load_weights, save_state, save_weights
from elite.engine.evaluate import Evaluation, evaluate
from elite.engine.initialize import initialize
from elite.engine.progress import TrainingDisplay
from elite.engine.run_folder import RunFolder
from elite.engine.schedule import learning_rate
from elite.engine.train_config import OptimizerConfig, TrainConfig
from elite.errors import EliteError
from elite.losses import SegmentationLoss, SegmentationTerms
from elite.metrics import Scores, scores
from elite.student import Student
from elite.types import Batch

__all__ = ["TrainResult", "train"]

MAX_SKIPPED_IN_A_ROW = 50


@dataclass
class TrainResult:
    """How a run ended; `scores` of the last validation, if there was one."""

    steps: int
    skipped: int
    best_miou: float | None
    scores: Scores | None
    weights: str


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    weights: Path | None = None,
    network: Any = None,
) -> TrainResult:
    """Trains until the last epoch of `config`.

    Args:
        folder: of the run; new, or with `resume` that of an interrupted run, which goes on exactly
            where its last checkpoint was written.
        weights: weights to start from; nothing else is taken from the file.
        network: instead of the student of `config`: a module with its interface.

    Raises:
        EliteError: if the data is missing, the run exists already (or, with `resume`, does not), or
            the gradients of many steps in a row are not finite.
    """
    network = network or _new_student(config)
    return _Trainer(config, RunFolder(folder), network, weights).run(resume)


def _new_student(config: TrainConfig) -> Student:
    torch.manual_seed(config.seed)
    student = Student(config.student)
    initialize(student)
    return student


def _optimizer(
    weights: Iterable[torch.nn.Parameter], config: OptimizerConfig
) -> torch.optim.Optimizer:
    if config.name == "adamw":
        return torch.optim.AdamW(weights, lr=config.lr, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        weights,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


class _Trainer:
    def __init__(
        self, config: TrainConfig, folder: RunFolder, network: Any, weights: Path | None
    ) -> None:
        self.config = config
        self.folder = folder
        self.accelerator = Accelerator(mixed_precision=config.precision)
        self.spec = DatasetSpec.load(config.data.spec)
        self.module = network
        if weights is not None:
            load_weights(weights, network)
        self._prepare_data()
        self._prepare_network()
        self.progress = Progress()
        self.skipped_in_a_row = 0
        self.scores: Scores | None = None

    # ---- preparation -----------------------------------------------------------------------------

    def _prepare_data(self) -> None:
        data, seed = self.config.data, self.config.seed
        scans = SemanticKitti(data.roots, data.train_split, self.spec)
        self.sampler = EpochSampler(len(scans), seed)
        training = TrainingScans(scans, self.config.augmentation, seed)
        loader = training_loader(training, self.sampler, data.batch_size, data.num_workers)
        self.loader = self.accelerator.prepare(loader)
        self.steps_per_epoch = len(self.loader)
        counts = self.spec.counts if data.class_counts == "spec" else scans.count_labels()
        self.loss = SegmentationLoss(
            torch.from_numpy(class_weights(counts)), self.config.lovasz_weight
        ).to(self.accelerator.device)
        self.validation = None
        if data.val_split is not None:
            # Each process takes every n-th scan. Accelerate would repeat scans to even out the
            # shares, and count them twice.
            whole = SemanticKitti(data.roots, data.val_split, self.spec)
            a = self.accelerator
            share: Any = Subset(whole, range(a.process_index, len(whole), a.num_processes))  # type: ignore[arg-type]
            self.validation = validation_loader(share, num_workers=data.num_workers)

    def _prepare_network(self) -> None:
        if self.accelerator.num_processes > 1 and self.accelerator.device.type == "cuda":
            convert: Any = torch.nn.SyncBatchNorm.convert_sync_batchnorm
            self.module = convert(self.module)
        weights = self.module.parameters()
        self.network, self.optimizer = self.accelerator.prepare(
            self.module, _optimizer(weights, self.config.optimizer)
        )

    @property
    def _stateful(self) -> dict[str, Any]:
        """What a checkpoint holds besides progress and random numbers."""
        parts = {"network": self.module, "optimizer": self.optimizer}
        if self.accelerator.scaler is not None:
            parts["scaler"] = self.accelerator.scaler
        return parts

    # ---- the run ---------------------------------------------------------------------------------

    def run(self, resume: bool) -> TrainResult:
        if resume:
            self.progress = load_state(self.folder.state_path, **self._stateful)
        if self.accelerator.is_main_process:
            if resume:
                self.folder.rewind(self.progress.step)
            else:
                self.folder.start(self.config)
        total = self.config.optimizer.epochs * self.steps_per_epoch
        shown = self.accelerator.is_main_process
        with TrainingDisplay(total, self.progress.step, shown) as self.display:
            while self.progress.epoch < self.config.optimizer.epochs:
                self._run_epoch()
        self.folder.close()
        return self._result()

    def _run_epoch(self) -> None:
        p, processes = self.progress, self.accelerator.num_processes
        self.sampler.epoch = p.epoch
        self.sampler.start = p.step_in_epoch * self.config.data.batch_size * processes
        self.module.train()
        for batch in self.loader:
            self._run_step(batch)
            due = p.step % self.config.checkpoint_every == 0
            if due and p.step_in_epoch < self.steps_per_epoch:
                self._checkpoint()
        p.epoch += 1
        p.step_in_epoch = 0
        last = p.epoch == self.config.optimizer.epochs
        if self.validation is not None and (last or p.epoch % self.config.validate_every == 0):
            self._validate()
        self._checkpoint()

    def _run_step(self, batch: Batch) -> None:
        p, o = self.progress, self.config.optimizer
        rate = learning_rate(o, p.step, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        terms = self._loss_of(batch)
        self.accelerator.backward(terms.total)
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), o.clip_norm)
        self._update(bool(torch.isfinite(norm)))
        p.step += 1
        p.step_in_epoch += 1
        if p.step % self.config.log_every == 0:
            self._record(terms, rate, float(norm))
        self.display.advance()

    def _loss_of(self, batch: Batch) -> SegmentationTerms:
        assert batch.labels is not None, "training needs labels"
        output = self.network(batch.points, batch.batch_index, batch.batch_size)
        # A point outside the range has a row of zeros instead of a prediction: nothing to learn.
        terms: SegmentationTerms = self.loss(output.logits, batch.labels.where(output.valid, 0))
        return terms

    def _update(self, finite: bool) -> None:
        """Takes the optimizer's step, or leaves it out where a gradient is not finite."""
        if finite or self.accelerator.scaler is not None:  # a scaler leaves it out by itself
            self.optimizer.step()
        self.optimizer.zero_grad()
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        self.progress.skipped += not finite
        if self.skipped_in_a_row == MAX_SKIPPED_IN_A_ROW:
            raise EliteError(
                f"the gradients of {MAX_SKIPPED_IN_A_ROW} steps in a row are not finite",
                "Lower optimizer.lr, or look at the data with `elite data check`.",
            )

    # ---- what is kept ----------------------------------------------------------------------------

    def _record(self, terms: SegmentationTerms, rate: float, norm: float) -> None:
        loss = float(terms.total.detach())
        self.display.show_loss(loss)
        if self.accelerator.is_main_process:
            self.folder.record(
                self.progress.step,
                epoch=self.progress.epoch,
                loss=loss,
                cross_entropy=float(terms.cross_entropy.detach()),
                lovasz=float(terms.lovasz.detach()),
                learning_rate=rate,
                gradient_norm=norm,
                skipped=self.progress.skipped,
            )

    def _validate(self) -> None:
        """One confusion matrix over the validation scans of all processes."""
        assert self.validation is not None
        device = self.accelerator.device
        local = evaluate(
            self.module.fused(), self.validation, self.spec.num_classes, device, self.loss
        )
        total = self._sum_over_processes(local)
        self.scores = scores(total.counts, self.spec.names)
        miou = self.scores.miou_present
        self.display.show_validation(miou)
        better = miou > self.progress.best_miou
        self.progress.best_miou = max(miou, self.progress.best_miou)
        if self.accelerator.is_main_process:
            self.folder.record(
                self.progress.step,
                epoch=self.progress.epoch,
                val_loss=total.mean_loss,
                val_miou=self.scores.miou,
                val_miou_present=miou,
                val_accuracy=self.scores.accuracy,
            )
            if better:
                self._save_weights(self.folder.best_weights)

    def _sum_over_processes(self, local: Evaluation) -> Evaluation:
        figures = torch.tensor([local.loss, local.num_scans], dtype=torch.float64)
        matrix, figures = self.accelerator.reduce(
            (local.matrix, figures.to(self.accelerator.device)), reduction="sum"
        )
        return Evaluation(matrix, loss=float(figures[0]), num_scans=int(figures[1]))

    def _checkpoint(self) -> None:
        if self.accelerator.is_main_process:
            save_state(self.folder.state_path, self.progress, **self._stateful)
            self._save_weights(self.folder.last_weights)

    def _save_weights(self, path: Path) -> None:
        save_weights(path, self.module, self.config.student, self.spec)

    def _result(self) -> TrainResult:
        best = self.progress.best_miou
        weights = self.folder.best_weights if best >= 0 else self.folder.last_weights
        return TrainResult(
            steps=self.progress.step,
            skipped=self.progress.skipped,
            best_miou=best if best >= 0 else None,
            scores=self.scores,
            weights=str(weights),
        )
