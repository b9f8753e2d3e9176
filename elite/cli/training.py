"""What `elite train` and `elite distill` share: their options, and how a run begins and ends."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from elite.cli.output import console, print_json, scores_table
from elite.errors import EliteError

if TYPE_CHECKING:
    from elite.engine.train import TrainResult
    from elite.engine.train_config import TrainConfig

Kind = TypeVar("Kind", bound="TrainConfig")

__all__ = [
    "Config",
    "DataFolders",
    "Output",
    "Overrides",
    "Resume",
    "Start",
    "configure",
    "data_changes",
    "path_change",
    "report",
]

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="As in optimizer.lr=0.1 data.batch_size=2."),
]
Config = Annotated[str, typer.Option(help="A YAML file, or the name of a shipped one.")]
DataFolders = Annotated[
    list[Path] | None, typer.Option("--data", help="Folder with sequences/NN; may be repeated.")
]
Output = Annotated[Path | None, typer.Option(help="Run folder. Default: runs/CONFIG.")]
Resume = Annotated[
    Path | None, typer.Option(help="Go on with an interrupted run, exactly where it stopped.")
]
Start = Annotated[
    Path | None,
    typer.Option(
        "--weights", help="The student starts from these weights; nothing else is restored."
    ),
]


def data_changes(folders: Sequence[Path] | None) -> list[str]:
    """The override that names the folders of the scans."""
    if not folders:
        return []
    return [f"data.roots={json_format.dumps([str(folder) for folder in folders])}"]


def path_change(key: str, path: Path) -> str:
    """The override that sets a key to a path, whatever characters it has."""
    return f"{key}={json_format.dumps(str(path))}"


def configure(
    kind: type[Kind],
    config: str,
    changes: Sequence[str],
    resume: Path | None,
    output: Path | None,
    weights: Path | None,
) -> tuple[Kind, Path]:
    """The configuration and the folder of a run, new or resumed."""
    from elite.config import load_config
    from elite.engine.run_folder import RunFolder

    if resume is None:
        return load_config(kind, config, changes), output or Path("runs") / Path(config).stem
    if changes or weights is not None:
        raise EliteError(
            "a resumed run keeps its configuration and weights",
            "Leave out KEY=VALUE, --data and --weights, or start a new run.",
        )
    return RunFolder(resume).config(kind), resume


def report(result: TrainResult, json: bool) -> None:
    """Prints how a run ended, once however many processes there are."""
    from accelerate import PartialState

    if not PartialState().is_main_process:
        return
    if json:
        print_json(result)
        return
    if result.scores is not None:
        console.print(scores_table(result.scores))
    console.print(f"{result.steps:,} steps, {result.skipped} skipped; weights: {result.weights}")
