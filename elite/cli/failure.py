"""What a user sees when a command fails: one sentence, the remedy, and exit code 1."""

from __future__ import annotations

from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from elite.errors import EliteError

__all__ = ["Commands"]


class Commands(TyperGroup):
    """A group of commands that prints expected errors instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EliteError as error:
            _report(error.problem, error.remedy)
        except (OSError, ValueError, ImportError) as error:
            _report(str(error), "")
        raise typer.Exit(1)


def _report(problem: str, remedy: str) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("[bold red]error[/]", end=" ")
    console.print(problem, markup=False)
    if remedy:
        console.print(remedy, markup=False, style="dim")
