"""elite train: the student alone."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated

import typer

from elite.cli.options import Json
from elite.cli.output import console, print_json, scores_table
from elite.errors import EliteError


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="As in optimizer.lr=0.1 data.batch_size=2."),
    ] = None,
    config: Annotated[
        str, typer.Option(help="A YAML file, or the name of a shipped one.")
    ] = "student",
    data: Annotated[
        list[Path] | None, typer.Option(help="Folder with sequences/NN; may be repeated.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Run folder. Default: runs/CONFIG.")] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with an interrupted run, exactly where it stopped.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Start from these weights; nothing else is restored.")
    ] = None,
    json: Json = False,
) -> None:
    """Train the student; several GPUs by `accelerate launch -m elite train ...`."""
    from accelerate import PartialState

    from elite.config import load_config
    from elite.engine.run_folder import RunFolder
    from elite.engine.train import train as run
    from elite.engine.train_config import TrainConfig

    changes = list(overrides or [])
    if data:
        changes.append(f"data.roots={json_format.dumps([str(path) for path in data])}")
    if resume is not None:
        if changes or weights is not None:
            raise EliteError(
                "a resumed run keeps its configuration and weights",
                "Leave out KEY=VALUE, --data and --weights, or start a new run.",
            )
        result = run(RunFolder(resume).config(), resume, resume=True)
    else:
        folder = output or Path("runs") / Path(config).stem
        result = run(load_config(TrainConfig, config, changes), folder, weights=weights)
    if not PartialState().is_main_process:
        return
    if json:
        print_json(result)
        return
    if result.scores is not None:
        console.print(scores_table(result.scores))
    console.print(f"{result.steps:,} steps, {result.skipped} skipped; weights: {result.weights}")
