"""elite predict: labels for your own scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elite.cli.options import FLOAT32, Device, Json, Precision, Weights, choose_device, find_weights
from elite.cli.output import console, print_json


def predict(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="A .bin file of float32 x, y, z, remission, or a folder of such files.",
        ),
    ],
    weights: Weights = None,
    output: Annotated[Path, typer.Option(help="Folder for the .label files.")] = Path(
        "predictions"
    ),
    view: Annotated[bool, typer.Option("--view", help="Write a bird's-eye picture, too.")] = False,
    device: Device = None,
    precision: Precision = FLOAT32,
    json: Json = False,
) -> None:
    """Write one label per point, from LiDAR alone, and say how long each stage took."""
    from elite.engine.checkpoint import load_student
    from elite.engine.predict import Predictor, picture_of
    from elite.engine.predict import predict as run
    from elite.engine.progress import tracked

    path = find_weights(weights)
    student, spec = load_student(path)
    summary = run(
        Predictor(student, choose_device(device), dtype=precision.of_torch),
        spec,
        source,
        output,
        progress=lambda scans: tracked(scans, "predicting"),
        view=picture_of(spec) if view else None,
    )
    if json:
        print_json(summary)
        return
    classes = sorted(summary.class_counts.items(), key=lambda item: -item[1])
    console.print(f"{summary.num_scans} scans, {summary.num_points:,} points; weights: {path}")
    console.print("classes: " + ", ".join(f"{name} {n:,}" for name, n in classes if n))
    console.print(
        f"{100 * summary.outside_fraction:.2f} % of the points lie outside the range and took the "
        "label of the nearest point inside"
    )
    seconds = vars(summary.seconds)
    per_scan = "  ".join(f"{k} {1e3 * v / summary.num_scans:.1f} ms" for k, v in seconds.items())
    console.print(f"time per scan on {summary.device}: {per_scan}")
    console.print(f"labels: {summary.files[0]}" if summary.num_scans == 1 else f"labels: {output}")
