"""elite distill: the student, with the teacher's help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elite.cli.options import Json
from elite.cli.training import (
    Config,
    DataFolders,
    Output,
    Overrides,
    Resume,
    Start,
    configure,
    data_changes,
    path_change,
    report,
)


def distill(
    overrides: Overrides = None,
    config: Config = "elite",
    data: DataFolders = None,
    pseudo_labels: Annotated[
        Path | None, typer.Option(help="Folder that `elite pseudolabel` wrote.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The teacher's official checkpoint, as sam_vit_b_01ec64.pth."),
    ] = None,
    output: Output = None,
    resume: Resume = None,
    weights: Start = None,
    json: Json = False,
) -> None:
    """Train the student with the teacher; several GPUs by `accelerate launch -m elite distill`."""
    from elite.engine.distillation import Distillation, DistillationConfig
    from elite.engine.train import train as run

    changes = [*(overrides or []), *data_changes(data)]
    if pseudo_labels is not None:
        changes.append(path_change("pseudo_labels", pseudo_labels))
    if checkpoint is not None:
        changes.append(path_change("teacher.checkpoint", checkpoint))
    settings, folder = configure(DistillationConfig, config, changes, resume, output, weights)
    recipe = Distillation(settings)
    result = run(settings, folder, resume=resume is not None, weights=weights, recipe=recipe)
    report(result, json)
