"""elite demo: everything once, in minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elite.cli.options import Json
from elite.cli.output import console, print_json, scores_table


def demo(
    output: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path(
        "demo"
    ),
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the training's configuration."),
    ] = None,
    json: Json = False,
) -> None:
    """Simulate streets, train on them with and without a teacher, predict; repeat to go on."""
    from elite.config import load_config
    from elite.engine.demo import demo as run
    from elite.engine.distillation import DistillationConfig

    config = load_config(DistillationConfig, "demo", overrides or [])
    summary = run(output, config)
    if json:
        print_json(summary)
        return
    console.print(scores_table(summary.alone.scores, "student alone"))
    console.print(scores_table(summary.with_teacher.scores, "student with a teacher"))
    times = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary.seconds.items())
    console.print(times)
    console.print(f"pictures: {', '.join(summary.pictures)}; summary: {output / 'summary.md'}")
