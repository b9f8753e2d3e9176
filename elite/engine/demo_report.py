"""What the demo did, for programs and as Markdown."""

from __future__ import annotations

from dataclasses import dataclass

from elite.engine.evaluate import SplitResult
from elite.engine.predict import PredictionSummary
from elite.metrics import ClassScore
from elite.pseudo_label import Quality

__all__ = ["DemoSummary", "report"]


@dataclass
class DemoSummary:
    """What the demo did; `seconds` of each part in this call, which reuses what is there.

    Attributes:
        steps: of each of the two trainings.
        pseudo_labels: of the training images.
        alone: the student that was trained without a teacher, on unseen streets.
        with_teacher: the student that was trained with one, on the same streets.
        prediction: of one scan, by the student that had a teacher.
    """

    scans: int
    steps: int
    pseudo_labels: Quality
    alone: SplitResult
    with_teacher: SplitResult
    prediction: PredictionSummary
    seconds: dict[str, float]
    pictures: list[str]


def report(summary: DemoSummary) -> str:
    """The summary as Markdown; its pictures lie beside it."""
    alone, taught = summary.alone.scores, summary.with_teacher.scores
    pairs = [
        (a, t) for a, t in zip(alone.classes, taught.classes, strict=True) if a.iou is not None
    ]
    prediction, labels = summary.prediction, summary.pseudo_labels
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary.seconds.items())
    stages = ", ".join(f"{k} {1e3 * v:.0f} ms" for k, v in vars(prediction.seconds).items())
    return f"""# Demo

The same student was trained twice for {summary.steps} steps on the same synthetic scans: alone, and
with a teacher that sees the camera's images too. Both were evaluated on
{summary.with_teacher.num_scans} scans of streets that neither had seen, without any image.

| | alone | with the teacher |
|---|---|---|
| mIoU over the {len(pairs)} classes present | {_percent(alone.miou_present)} | {
        _percent(taught.miou_present)
    } |
| accuracy | {_percent(alone.accuracy)} | {_percent(taught.accuracy)} |

The teacher is a tiny image encoder with random weights and adapters, in place of Segment
Anything, whose checkpoints are not needed here. Its labels are those of the points, spread over
superpixels: {_percent(labels.coverage)} of the pixels instead of {
        _percent(labels.sparse_coverage)
    }. What is the teacher's doing, and what
other seeds give, is in docs/distillation.md.

![Prediction, truth and errors from above](birds_eye.png)

![Prediction and truth in the camera image](camera.png)

![Pseudo-labels of some training images](pseudo_labels/contact_sheet.jpg)

| IoU | alone | with the teacher | points |
|---|---|---|---|
{chr(10).join(_row(a, t) for a, t in pairs)}

Absent from these scans: {", ".join(taught.absent) or "none"}.
In `alone/evaluation/` and `with_teacher/evaluation/` are the scores as JSON and the confusion
matrices.

One scan of {prediction.num_points:,} points took {stages} on {prediction.device}.
This call took {times}.

Next: `elite predict YOUR_SCAN.bin --view` labels a scan of yours with these weights.
"""


def _row(alone: ClassScore, taught: ClassScore) -> str:
    return f"| {alone.name} | {_percent(alone.iou)} | {_percent(taught.iou)} | {alone.points:,} |"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
