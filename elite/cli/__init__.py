"""The command line `elite`: one file per command."""

from __future__ import annotations

import typer

from elite.cli import data
from elite.cli.allocator import keep_freed_memory
from elite.cli.bench import bench
from elite.cli.demo import demo
from elite.cli.distill import distill
from elite.cli.doctor import doctor
from elite.cli.eval import evaluate
from elite.cli.failure import Commands
from elite.cli.predict import predict
from elite.cli.pseudolabel import pseudolabel
from elite.cli.simulate import simulate
from elite.cli.submit import submit
from elite.cli.threads import wait_briefly
from elite.cli.train import train

__all__ = ["app", "main"]

app = typer.Typer(
    name="elite",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Labels for LiDAR scans: simulate, train, distill, evaluate, predict.",
)
app.command()(doctor)
app.command()(demo)
app.command()(simulate)
app.add_typer(data.app, name="data")
app.command()(pseudolabel)
app.command()(train)
app.command()(distill)
app.command(name="eval")(evaluate)
app.command()(predict)
app.command()(submit)
app.command()(bench)


def main() -> None:
    """The entry point of the `elite` command."""
    wait_briefly()
    keep_freed_memory()
    app()
