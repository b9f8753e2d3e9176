"""The whole way on two cores, in minutes: a street, a training, an evaluation, pictures."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from rich.console import Console

from elite.config import to_mapping
from elite.data import DatasetSpec, SemanticKitti, check_data, read_labels
from elite.data.street import simulate
from elite.engine.checkpoint import load_student
from elite.engine.evaluate import SplitResult, evaluate_split
from elite.engine.predict import PredictionSummary, Predictor, predict
from elite.engine.progress import counted
from elite.engine.run_folder import RunFolder
from elite.engine.train import train
from elite.engine.train_config import TrainConfig
from elite.errors import EliteError
from elite.files import replacing, write_text
from elite.pictures import birds_eye, camera_overlay

__all__ = ["DemoSummary", "demo"]


@dataclass
class DemoSummary:
    """What the demo did; `seconds` of each part in this call, which reuses what is there."""

    scans: int
    steps: int
    evaluation: SplitResult
    prediction: PredictionSummary
    seconds: dict[str, float] = field(default_factory=dict)
    pictures: list[str] = field(default_factory=list)


def demo(
    folder: Path,
    config: TrainConfig,
    *,
    frames: int = 1,
) -> DemoSummary:
    """Simulates, checks, trains, evaluates, predicts and paints, all below `folder`.

    Whatever an earlier call has finished is used again; an interrupted training goes on.

    Args:
        config: of the training. Its data root becomes the simulated data, and each sequence of its
            two splits a street of its own, so that what is evaluated was never seen.
        frames: scans of each street.
    """
    clock = _Clock()
    data = folder / "data"
    config = replace(config, data=replace(config.data, roots=(str(data),)))
    spec = DatasetSpec.load(config.data.spec)
    unseen = config.data.val_split
    assert unseen is not None, "the demo evaluates"
    streets = spec.sequences(config.data.train_split) + spec.sequences(unseen)
    with clock.part("simulate", "streets are simulated"), counted("frames") as report:
        simulate(data, sequences=dict.fromkeys(streets, frames), progress=report)
    with clock.part("check", "the data is checked"):
        problems = check_data(data, spec).problems
        if problems:
            raise EliteError(f"the simulated data is broken: {problems[0]}", f"Delete {folder}.")
    with clock.part("train", "the student is trained"):
        # Without validation: what follows is one, and each takes as long as dozens of steps.
        alone = replace(config, data=replace(config.data, val_split=None))
        steps, weights = _train(folder / "run", alone)
    student, _ = load_student(weights)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with clock.part("evaluate", "it is evaluated on streets that it has not seen"):
        evaluation = evaluate_split(student, spec, [data], unseen, device, folder / "evaluation")
    with clock.part("predict", "one scan is labelled and painted"):
        scans = SemanticKitti([data], unseen, spec, images=True)
        source = scans.frames[len(scans) // 2].points
        prediction = predict(Predictor(student, device), spec, source, folder / "predictions")
        pictures = _paint(folder, scans, Path(prediction.files[0]))
    summary = DemoSummary(
        scans=len(streets) * frames,
        steps=steps,
        evaluation=evaluation,
        prediction=prediction,
        seconds=clock.seconds,
        pictures=[str(path) for path in pictures],
    )
    write_text(folder / "summary.json", json.dumps(to_mapping(summary), indent=2) + "\n")
    write_text(folder / "summary.md", _report(summary))
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


def _train(path: Path, config: TrainConfig) -> tuple[int, Path]:
    """Trains, or goes on where an earlier call was interrupted; returns steps and weights."""
    folder = RunFolder(path)
    if folder.config_path.exists() and folder.config() != config:
        raise EliteError(
            f"{path}: an earlier run has another configuration",
            f"Delete {path.parent}, or choose another --output.",
        )
    resume = folder.state_path.exists()
    if not resume and path.exists():  # interrupted before its first checkpoint
        shutil.rmtree(path)
    result = train(config, path, resume=resume)
    return result.steps, Path(result.weights)


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


def _report(summary: DemoSummary) -> str:
    """The summary as Markdown; its pictures lie beside it."""
    scores, prediction = summary.evaluation.scores, summary.prediction
    rows = [
        f"| {c.name} | {100 * c.iou:.1f} % | {c.points:,} |"
        for c in scores.classes
        if c.iou is not None
    ]
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary.seconds.items())
    stages = ", ".join(f"{k} {1e3 * v:.0f} ms" for k, v in vars(prediction.seconds).items())
    return f"""# Demo

The student was trained for {summary.steps} steps on synthetic scans and evaluated on
{summary.evaluation.num_scans} scans of streets that it had not seen.

**mIoU over the {len(rows)} classes present: {100 * scores.miou_present:.1f} %**,
accuracy {100 * scores.accuracy:.1f} %.

![Prediction, truth and errors from above](birds_eye.png)

![Prediction and truth in the camera image](camera.png)

| class | IoU | points |
|---|---|---|
{chr(10).join(rows)}

Absent from these scans: {", ".join(scores.absent) or "none"}.
In `evaluation/` are the scores as JSON and a picture of the confusion matrix.

One scan of {prediction.num_points:,} points took {stages} on {prediction.device}.
This call took {times}.

Next: `elite predict YOUR_SCAN.bin --view` labels a scan of yours with these weights.
"""
