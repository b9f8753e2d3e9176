"""elite eval: the official metric."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elite.cli.options import (
    Device,
    Json,
    Tta,
    Views,
    Weights,
    choose_device,
    choose_views,
    find_weights,
)
from elite.cli.output import console, print_json, scores_table


def evaluate(
    data: Annotated[list[Path], typer.Option(help="Folder with sequences/NN; may be repeated.")],
    weights: Weights = None,
    split: Annotated[str, typer.Option(help="A split, or sequences as in 00,08.")] = "val",
    output: Annotated[Path, typer.Option(help="Folder for scores.json and confusion.png.")] = Path(
        "evaluation"
    ),
    tta: Tta = 1,
    view: Views = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Per-class IoU and mIoU over a split, as the SemanticKITTI benchmark computes them."""
    from elite.engine.checkpoint import load_student
    from elite.engine.evaluate import evaluate_split
    from elite.engine.progress import tracked

    path = find_weights(weights)
    student, spec = load_student(path)
    result = evaluate_split(
        student,
        spec,
        data,
        split,
        choose_device(device),
        output,
        views=choose_views(tta, view),
        progress=lambda batches: tracked(batches, "evaluating"),
    )
    if json:
        print_json(result)
        return
    console.print(scores_table(result.scores))
    if result.tta_scores is not None:
        one, many = result.scores.miou_present, result.tta_scores.miou_present
        console.print(scores_table(result.tta_scores, f"{result.views} views summed"))
        console.print(
            f"mIoU over classes present: {100 * one:.1f} % of the scans as they are, "
            f"{100 * many:.1f} % with {result.views} views"
        )
    console.print(
        f"{result.num_scans} scans of split {split}, {100 * result.outside_fraction:.2f} % of the "
        f"points outside the range; weights: {path}; written: {output}"
    )
