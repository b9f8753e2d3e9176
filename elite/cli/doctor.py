"""elite doctor: does this installation work?"""

from __future__ import annotations

import typer

from elite.cli.options import Json
from elite.cli.output import console, print_json


def doctor(json: Json = False) -> None:
    """Versions, devices and kernels, and a self-test of them against plain PyTorch."""
    from rich.table import Table

    from elite.engine.doctor import examine

    report = examine()
    if json:
        print_json(report)
    else:
        table = Table("what", "found", title="elite doctor")
        for name, found in (report.versions | report.build).items():
            table.add_row(name, str(found))
        for device in report.devices:
            table.add_row("device", device)
        for name, remedy in report.missing.items():
            table.add_row(name, f"not installed: {remedy}", style="dim")
        console.print(table)
        for check in report.checks:
            mark = "[green]ok[/]" if check.error is None else f"[red]{check.error}[/]"
            console.print(f"{check.op} on {check.device}: {mark} ({check.seconds:.2f} s)")
    if not report.healthy:
        raise typer.Exit(1)
