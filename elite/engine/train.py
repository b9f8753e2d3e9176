"""The training loop: any recipe, on one device or several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.utils.data import Subset

from elite.data import (
    DatasetSpec,
    EpochSampler,
    SemanticKitti,
    class_weights,
    training_loader,
    validation_loader,
)
from elite.engine.average import averaged
from elite.engine.batch_norm import synchronize_batch_norms
from elite.engine.checkpoint import Progress, load_state, load_weights, save_state, save_weights
from elite.engine.evaluate import Evaluation, evaluate
from elite.engine.progress import TrainingDisplay
from elite.engine.run_folder import RunFolder
from elite.engine.schedule import learning_rate
from elite.engine.skipped_steps import SkippedSteps
from elite.engine.supervised import Supervised
from elite.engine.task import Plan, Recipe, Terms, named_terms
from elite.engine.train_config import OptimizerConfig, TrainConfig
from elite.errors import EliteError
from elite.losses import SegmentationLoss
from elite.metrics import Scores, scores
from elite.types import Batch

__all__ = ["TrainResult", "train"]

T = TypeVar("T")


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
    recipe: Recipe | None = None,
) -> TrainResult:
    """Trains until the last epoch of `config`.

    Args:
        config: of the recipe, which may have a dataclass of its own derived from `TrainConfig`.
        folder: of the run; new, or with `resume` that of an interrupted run, which goes on exactly
            where its last checkpoint was written.
        weights: the student's weights to start from; nothing else is taken from the file.
        recipe: what is trained on which data; the student alone if none is given.

    Raises:
        EliteError: if the data is missing, the run exists already (or, with `resume`, does not), or
            the gradients of many steps in a row are not finite.
    """
    return _Trainer(config, RunFolder(folder), recipe or Supervised(config), weights).run(resume)


def _accelerator(precision: str) -> Accelerator:
    on_cpu = not torch.cuda.is_available()
    if precision == "fp16" and on_cpu:  # Accelerate would train in float32 without a word
        raise EliteError("precision fp16 needs a GPU", "Use precision=bf16 or precision=no.")
    # Accelerate keeps the precision for the whole process, which may train more than once.
    AcceleratorState._reset_state()
    # Without `cpu`, processes that torchrun starts on a machine without a GPU train side by side.
    return Accelerator(mixed_precision=precision, cpu=on_cpu)


def _refuse_misfits(config: TrainConfig, spec: DatasetSpec) -> None:
    if config.student.num_classes != spec.num_classes:
        raise EliteError(
            f"the network has {config.student.num_classes} classes, {spec.name} has "
            f"{spec.num_classes} with the unlabelled one",
            f"Set student.num_classes={spec.num_classes}.",
        )
    if config.data.class_counts == "spec" and not spec.counts.any():
        raise EliteError(
            f"{spec.name} doesn't say how many points a class has, so no class has a weight",
            "Set data.class_counts=scans, or write the counts into the data set's YAML.",
        )


def _optimizer(groups: list[dict[str, Any]], config: OptimizerConfig) -> torch.optim.Optimizer:
    if config.name == "adamw":
        return torch.optim.AdamW(
            groups,
            lr=config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )
    return torch.optim.SGD(
        groups,
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )


def _grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items; the last one may be shorter."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


class _Trainer:
    def __init__(
        self, config: TrainConfig, folder: RunFolder, recipe: Recipe, weights: Path | None
    ) -> None:
        self.config = config
        self.folder = folder
        self.accelerator = _accelerator(config.precision)
        self.spec = DatasetSpec.load(config.data.spec)
        _refuse_misfits(config, self.spec)
        plan = self._prepare_data(recipe)
        self._prepare_task(recipe, plan, weights)
        self.progress = Progress()
        self.skipped = SkippedSteps(config.max_skipped, folder.path, self.accelerator.process_index)
        self.scores: Scores | None = None

    # ---- preparation -----------------------------------------------------------------------------

    def _prepare_data(self, recipe: Recipe) -> Plan:
        data, optimizer = self.config.data, self.config.optimizer
        training = recipe.training_scans(self.spec)
        self.sampler = EpochSampler(len(training), self.config.seed)
        loader = training_loader(training, self.sampler, data.batch_size, data.num_workers)
        self.loader = self.accelerator.prepare(loader)
        self.steps_per_epoch = -(-len(self.loader) // optimizer.accumulate)
        self.validation = None
        if data.val_split is not None:
            # Each process takes every n-th scan. Accelerate would repeat scans to even out the
            # shares, and count them twice.
            whole = SemanticKitti(data.roots, data.val_split, self.spec)
            a = self.accelerator
            share: Any = Subset(whole, range(a.process_index, len(whole), a.num_processes))  # type: ignore[arg-type]
            self.validation = validation_loader(share, num_workers=data.num_workers)
        counted = data.class_counts == "scans"
        counts = training.scans.count_labels() if counted else self.spec.counts
        return Plan(
            spec=self.spec,
            class_weights=torch.from_numpy(class_weights(counts)),
            total_steps=optimizer.epochs * self.steps_per_epoch,
        )

    def _prepare_task(self, recipe: Recipe, plan: Plan, weights: Path | None) -> None:
        task = recipe.task(plan)
        if weights is not None:
            load_weights(weights, task.student)
        if self.accelerator.num_processes > 1:
            synchronize_batch_norms(task, self.accelerator.device)
        self.task = task
        self.total_steps = plan.total_steps
        self.validation_loss = SegmentationLoss(plan.class_weights, self.config.lovasz_weight).to(
            self.accelerator.device
        )
        self.wrapped, self.optimizer = self.accelerator.prepare(
            task, _optimizer(task.parameter_groups(), self.config.optimizer)
        )
        decay = self.config.optimizer.ema_decay
        self.average = None if decay is None else averaged(task.student, decay)

    @property
    def _stateful(self) -> dict[str, Any]:
        """What a checkpoint holds besides progress and random numbers."""
        parts = {
            "task": self.task,
            "optimizer": self.optimizer,
            "average": self.average,
            "scaler": self.accelerator.scaler,
        }
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def _result_network(self) -> Any:
        """The network that is validated and kept."""
        return self.task.student if self.average is None else self.average.module

    # ---- the run ---------------------------------------------------------------------------------

    def run(self, resume: bool) -> TrainResult:
        self._open(resume)
        shown = self.accelerator.is_main_process
        with TrainingDisplay(self.total_steps, self.progress.step, shown) as self.display:
            if not resume:
                self._validate()
                self._checkpoint()
            while self.progress.epoch < self.config.optimizer.epochs:
                self._run_epoch()
        self.folder.close()
        return self._result()

    def _open(self, resume: bool) -> None:
        if resume:
            self.progress = load_state(self.folder.state_path, **self._stateful)
        else:
            self.folder.refuse_a_second_run()
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            if resume:
                self.folder.rewind(self.progress.step)
            else:
                self.folder.start(self.config)

    def _run_epoch(self) -> None:
        p, c = self.progress, self.config
        scans_a_step = c.data.batch_size * c.optimizer.accumulate * self.accelerator.num_processes
        self.sampler.epoch = p.epoch
        self.sampler.start = p.step_in_epoch * scans_a_step
        self.task.train()
        for batches in _grouped(self.loader, c.optimizer.accumulate):
            self._run_step(batches)
            due = p.step % c.checkpoint_every == 0
            if due and p.step_in_epoch < self.steps_per_epoch:
                self._checkpoint()
        p.epoch += 1
        p.step_in_epoch = 0
        if p.epoch == c.optimizer.epochs or p.epoch % c.validate_every == 0:
            self._validate()
        self._checkpoint()

    def _run_step(self, batches: Sequence[Batch]) -> None:
        p, o = self.progress, self.config.optimizer
        rate = learning_rate(o, p.step, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        terms = self._gradients_of(batches)
        norm = self.accelerator.clip_grad_norm_(self.task.parameters(), o.clip_norm)
        finite = bool(torch.isfinite(norm))
        self._update(finite)
        self.skipped.count(finite, p.step, self.task, batches)
        p.skipped += not finite
        p.step += 1
        p.step_in_epoch += 1
        if p.step % self.config.log_every == 0:
            self._record(terms, rate, float(norm))
        self.display.advance()

    def _gradients_of(self, batches: Sequence[Batch]) -> list[Terms]:
        """Gradients of the mean loss; processes exchange them once, with the last batch."""
        every = []
        for batch in batches:
            last = batch is batches[-1]
            with nullcontext() if last else self.accelerator.no_sync(self.wrapped):
                terms: Terms = self.wrapped(batch)
                self.accelerator.backward(terms.total / len(batches))
            every.append(terms)
        return every

    def _update(self, finite: bool) -> None:
        """Takes the optimizer's step, or leaves it out where a gradient is not finite."""
        if finite or self.accelerator.scaler is not None:  # a scaler leaves it out by itself
            self.optimizer.step()
        self.task.after_step(self.progress.step, finite)
        self.optimizer.zero_grad()
        if finite and self.average is not None:
            self.average.update_parameters(self.task.student)

    # ---- what is kept ----------------------------------------------------------------------------

    def _record(self, terms: Sequence[Terms], rate: float, norm: float) -> None:
        """One line about the latest step: the mean over its batches."""
        named = [named_terms(t) for t in terms]
        values = {name: float(sum(n[name] for n in named)) / len(named) for name in named[0]}
        self.display.show_loss(values["loss"])
        if self.accelerator.is_main_process:
            self.folder.record(
                self.progress.step,
                epoch=self.progress.epoch,
                **values,
                learning_rate=rate,
                gradient_norm=norm,
                skipped=self.progress.skipped,
            )

    def _validate(self) -> None:
        """One confusion matrix over the validation scans of all processes."""
        if self.validation is None:
            return
        device = self.accelerator.device
        network = self._result_network.fused()
        local = evaluate(
            network, self.validation, self.spec.num_classes, device, self.validation_loss
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
        local.confusion.counts, figures = self.accelerator.reduce(
            (local.confusion.counts, figures.to(self.accelerator.device)), reduction="sum"
        )
        return replace(local, loss=float(figures[0]), num_scans=int(figures[1]))

    def _checkpoint(self) -> None:
        if self.accelerator.is_main_process:
            # The state comes last: a run that is killed in between goes on from the state before,
            # and writes the same weights again.
            self._save_weights(self.folder.last_weights)
            save_state(self.folder.state_path, self.progress, **self._stateful)

    def _save_weights(self, path: Path) -> None:
        save_weights(path, self._result_network, self.config.student, self.spec)

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
