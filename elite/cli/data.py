"""elite data: look at a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elite.cli.failure import Commands
from elite.cli.options import Json
from elite.cli.output import console, print_json

app = typer.Typer(cls=Commands, no_args_is_help=True, help="Look at a data set.")
MAX_LISTED = 50


@app.callback()
def data() -> None:
    """Look at a data set."""


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Holds sequences/NN.")],
    spec: Annotated[
        str, typer.Option(help="Data set: a YAML, or a shipped one.")
    ] = "semantic_kitti",
    json: Json = False,
) -> None:
    """List whatever is missing or broken; exit with 1 if anything is."""
    from rich.table import Table

    from elite.data import DatasetSpec, check_data
    from elite.engine.progress import tracked

    report = check_data(
        folder, DatasetSpec.load(spec), progress=lambda frames: tracked(frames, "reading")
    )
    if json:
        print_json(report)
    else:
        table = Table("sequence", "scans", title=str(folder))
        for sequence, scans in report.sequences.items():
            table.add_row(sequence, str(scans))
        console.print(table)
        console.print(
            f"{report.num_scans:,} scans, {report.num_labelled_scans:,} with labels, "
            f"{report.num_images:,} images, {report.num_points:,} points"
        )
        if report.remission is not None:
            console.print("remission from {:.3g} to {:.3g}".format(*report.remission))
        present = {name: n for name, n in report.class_counts.items() if n}
        console.print("points by class: " + ", ".join(f"{k} {n:,}" for k, n in present.items()))
        for problem in report.problems[:MAX_LISTED]:
            console.print(f"[red]problem[/] {problem}")
        hidden = len(report.problems) - MAX_LISTED
        if hidden > 0:
            console.print(f"... and {hidden} more (--json lists all)")
        console.print(f"{len(report.problems)} problems" if report.problems else "no problems")
    if report.problems:
        raise typer.Exit(1)
