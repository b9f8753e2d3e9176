"""elite submit: the benchmark's zip file."""

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
from elite.cli.output import console, print_json


def submit(
    data: Annotated[list[Path], typer.Option(help="Folder with sequences/NN; may be repeated.")],
    weights: Weights = None,
    split: Annotated[str, typer.Option(help="A split, or sequences as in 11,12.")] = "test",
    output: Annotated[Path, typer.Option(help="The zip file.")] = Path("submission.zip"),
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the label files; those that it holds are used. Default: beside the "
            "zip file."
        ),
    ] = None,
    tta: Tta = 1,
    view: Views = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Predict a complete split, check every file, and zip it for the SemanticKITTI benchmark."""
    from elite.engine.checkpoint import load_student
    from elite.engine.predict import Predictor
    from elite.engine.progress import tracked
    from elite.engine.submit import predict_frames, split_frames, write_submission
    from elite.files import sha256

    path = find_weights(weights)
    student, spec = load_student(path)
    frames = split_frames(data, split, spec)
    folder = predictions or output.with_suffix("")
    views = choose_views(tta, view)
    predict_frames(
        Predictor(student, choose_device(device), views),
        spec,
        frames,
        folder,
        {"weights": sha256(path), "views": [matrix.tolist() for matrix in views]},
        progress=lambda missing: tracked(missing, "predicting"),
    )
    summary = write_submission(folder, frames, spec, output)
    if json:
        print_json(summary)
        return
    console.print(
        f"{summary.path}: {summary.num_scans:,} scans of {len(summary.sequences)} sequences, "
        f"{summary.num_points:,} points, each with the raw id of a learned class"
    )
