"""The whole of ELiTe on two cores, in minutes: streets, pseudo-labels, two trainings, pictures."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console

from elite.config import to_mapping
from elite.data import DatasetSpec, SemanticKitti, check_data, read_labels
from elite.data.street import simulate
from elite.engine.checkpoint import load_student
from elite.engine.demo_report import DemoSummary, report
from elite.engine.distillation import Distillation, DistillationConfig
from elite.engine.evaluate import evaluate_split
from elite.engine.predict import Predictor, predict
from elite.engine.progress import counted
from elite.engine.run_folder import RunFolder
from elite.engine.task import Recipe
from elite.engine.train import train
from elite.engine.train_config import TrainConfig
from elite.errors import EliteError
from elite.files import replacing, write_text
from elite.pictures import birds_eye, camera_overlay
from elite.processes import available_cores, process_pool
from elite.pseudo_label import (
    PseudoLabelConfig,
    Quality,
    Shard,
    SuperpixelConfig,
    build_segmenter,
    make_pseudo_labels,
    write_contact_sheet,
)
from elite.student import Student

__all__ = ["demo"]

# Superpixels need no checkpoint, and one scale of them half the time of two.
LABELLING = PseudoLabelConfig("superpixels", superpixels=SuperpixelConfig(scales=(1000.0,)))
SHARDS_PER_CORE = 4


def demo(folder: Path, config: DistillationConfig, *, frames: int = 1) -> DemoSummary:
    """Simulates, labels images, trains twice, evaluates, predicts and paints, all below `folder`.

    Whatever an earlier call has finished is used again; an interrupted training goes on.

    Args:
        config: of the training with the teacher; the one without it is the same run otherwise. Its
            data root becomes the simulated data, and each sequence of its two splits a street of
            its own, so that what is evaluated was never seen.
        frames: scans of each street.
    """
    clock = _Clock()
    spec = DatasetSpec.load(config.data.spec)
    seen, unseen = config.data.train_split, config.data.val_split
    assert unseen is not None, "the demo evaluates"
    data, labels = folder / "data", folder / "pseudo_labels"
    streets = spec.sequences(seen) + spec.sequences(unseen)
    build_segmenter(LABELLING, torch.device("cpu"))  # which complains at once if it can't be had
    with clock.part("simulate", "streets are simulated"):
        _simulate(data, spec, dict.fromkeys(streets, frames))
    with clock.part("label", "camera images are labelled from points and superpixels"):
        quality = _label_images(data, labels, spec, seen)
    # Without validation: what follows is one, and it takes as long as dozens of steps.
    unvalidated = replace(config.data, roots=(str(data),), val_split=None)
    config = replace(config, data=unvalidated, pseudo_labels=str(labels))
    with clock.part("train", "the student is trained alone"):
        alone = _train(folder / "alone", config.student_alone())
    with clock.part("distill", "the same student is trained with a teacher"):
        taught = _train(folder / "with_teacher", config, Distillation(config))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with clock.part("evaluate", "both are evaluated on streets that they have not seen"):
        alone_there, taught_there = (
            evaluate_split(student, spec, [data], unseen, device, folder / name / "evaluation")
            for name, student in (("alone", alone.student), ("with_teacher", taught.student))
        )
    with clock.part("predict", "one scan is labelled and painted"):
        scans = SemanticKitti([data], unseen, spec, images=True)
        source = scans.frames[len(scans) // 2].points
        predictor = Predictor(taught.student, device)
        prediction = predict(predictor, spec, source, folder / "predictions")
        pictures = _paint(folder, scans, Path(prediction.files[0]))
    summary = DemoSummary(
        scans=len(streets) * frames,
        steps=taught.steps,
        pseudo_labels=quality,
        alone=alone_there,
        with_teacher=taught_there,
        prediction=prediction,
        seconds=clock.seconds,
        pictures=[str(path) for path in pictures],
    )
    write_text(folder / "summary.json", json.dumps(to_mapping(summary), indent=2) + "\n")
    write_text(folder / "summary.md", report(summary))
    return summary


class _Clock:
    """Announces the parts and measures them."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str, sentence: str) -> Iterator[None]:
        self.console.print(f"[bold]{name}[/]: {sentence}")
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 2)


@dataclass
class _Trained:
    student: Student
    steps: int


def _simulate(data: Path, spec: DatasetSpec, frames: dict[str, int]) -> None:
    """Writes the streets, and reads them back: a fault shows here and not in the training."""
    with counted("frames") as progress:
        simulate(data, sequences=frames, progress=progress)
    problems = check_data(data, spec).problems
    if problems:
        raise EliteError(f"the simulated data is broken: {problems[0]}", f"Delete {data}.")


def _label_images(data: Path, labels: Path, spec: DatasetSpec, split: str) -> Quality:
    """Makes the pseudo-labels of a split on all cores, and the sheet that shows some."""
    cores = available_cores()
    shards = [Shard(i, SHARDS_PER_CORE * cores) for i in range(SHARDS_PER_CORE * cores)]
    with process_pool(cores) as pool, counted("shards of the images") as progress:
        made = [
            pool.submit(make_pseudo_labels, data, labels, spec, split, LABELLING, shard=shard)
            for shard in shards
        ]
        for done, future in enumerate(as_completed(made), start=1):
            future.result()
            progress(done, len(shards))
    write_contact_sheet(data, labels, spec, split, LABELLING.visibility)
    return make_pseudo_labels(data, labels, spec, split, LABELLING).quality


def _train(path: Path, config: TrainConfig, recipe: Recipe | None = None) -> _Trained:
    """Trains, or goes on where an earlier call was interrupted."""
    folder = RunFolder(path)
    if folder.config_path.exists() and folder.config(type(config)) != config:
        raise EliteError(
            f"{path}: an earlier run has another configuration",
            f"Delete {path.parent}, or choose another --output.",
        )
    resume = folder.state_path.exists()
    if not resume and path.exists():  # interrupted before its first checkpoint
        shutil.rmtree(path)
    result = train(config, path, resume=resume, recipe=recipe)
    student, _ = load_student(Path(result.weights))
    return _Trained(student, result.steps)


def _paint(folder: Path, scans: SemanticKitti, label_file: Path) -> list[Path]:
    """The written labels of the middle scan beside the truth: from above and in the camera."""
    scan, spec = scans[len(scans) // 2], scans.spec
    assert scan.labels is not None
    assert scan.image is not None
    assert scan.projection is not None
    raw_labels, _ = read_labels(label_file, len(scan.points))
    predicted = spec.to_learning(raw_labels, label_file)
    pictures = {
        "birds_eye.png": birds_eye(scan.points, predicted, scan.labels, spec),
        "camera.png": camera_overlay(
            scan.image, scan.projection, scan.points, predicted, scan.labels, spec
        ),
    }
    for name, picture in pictures.items():
        with replacing(folder / name) as temporary:
            picture.save(temporary, format="PNG")
    return [folder / name for name in pictures]
