"""elite eval: the official metric."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elite.cli.options import Device, Json, Weights, choose_device, find_weights
from elite.cli.output import console, print_json, scores_table


def evaluate(
    data: Annotated[list[Path], typer.Option(help="Folder with sequences/NN; may be repeated.")],
    weights: Weights = None,
    split: Annotated[str, typer.Option(help="A split, or sequences as in 00,08.")] = "val",
    output: Annotated[Path, typer.Option(help="Folder for scores.json and confusion.png.")] = Path(
        "evaluation"
    ),
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
        progress=lambda batches: tracked(batches, "evaluating"),
    )
    if json:
        print_json(result)
        return
    console.print(scores_table(result.scores))
    console.print(
        f"{result.num_scans} scans of split {split}, {100 * result.outside_fraction:.2f} % of the "
        f"points outside the range; weights: {path}; written: {output}"
    )
