"""elite bench: how fast is it here?"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from elite.cli.options import FLOAT32, Device, Json, Precision, choose_device, find_weights
from elite.cli.output import console, print_json

if TYPE_CHECKING:
    from elite.engine.bench import BenchReport


def bench(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[INPUT]",
            help="A .bin file of float32 x, y, z, remission, or a folder of such files. Default: "
            "a scan of the synthetic street.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="As for `elite predict`. Default: random ones, which take as long."),
    ] = None,
    device: Device = None,
    threads: Annotated[
        int | None, typer.Option(help="On the CPU. Default: one for each core.", min=1)
    ] = None,
    precision: Precision = FLOAT32,
    rounds: Annotated[int, typer.Option(help="How often each time is taken.", min=1)] = 20,
    captured: Annotated[
        bool,
        typer.Option(
            "--captured", help="Also at a fixed capacity, on a GPU one graph, in each precision."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Time a scan: stage by stage, the network alone, and from the file to the labels."""
    import torch

    from elite.data import DatasetSpec, write_points
    from elite.data.street import Street
    from elite.engine.bench import bench as run
    from elite.engine.checkpoint import load_student
    from elite.engine.predict import find_scans
    from elite.engine.progress import counted
    from elite.student import Student

    on_device = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    if weights is None:
        torch.manual_seed(0)
        student, spec = Student(), DatasetSpec.load("semantic_kitti")
    else:
        student, spec = load_student(find_weights(weights))
    with ExitStack() as stack:
        if source is None:
            scans = [Path(stack.enter_context(TemporaryDirectory()), "street.bin")]
            write_points(scans[0], Street(0).frame(0).points)
        else:
            scans = find_scans(source)
        progress = stack.enter_context(counted("rounds"))
        report = run(
            student,
            spec,
            scans,
            on_device,
            rounds=rounds,
            dtype=precision.of_torch,
            captured=captured,
            progress=progress,
        )
    if json:
        print_json(report)
        return
    _show(report)
    console.print(f"scans: {source or 'synthetic street'}; weights: {weights or 'random'}")


def _show(report: BenchReport) -> None:
    from rich.table import Table

    table = Table(title="Milliseconds a scan")
    table.add_column("stage")
    for name in ("p50", "p90", "p99", "min"):
        table.add_column(name, justify="right")
    totals = {"network alone": report.network, "file to labels": report.end_to_end}
    for precision, form in report.captured.items():
        totals[f"file to labels, captured, {precision}"] = form.end_to_end
    for name, times in (report.stages | totals).items():
        if name == "network alone":
            table.add_section()
        figures = [f"{1e3 * seconds:.2f}" for seconds in vars(times).values()]
        table.add_row(name, *figures, style="bold" if name in totals else None)
    console.print(table)
    agreement = {f"captured, {name}": form.agreement for name, form in report.captured.items()}
    if report.precision != "float32":
        agreement[report.precision] = report.agreement
    if agreement:
        parts = [f"{part:.3%} in {name}" for name, part in agreement.items()]
        console.print(f"labels of float32: {'; '.join(parts)}")
    console.print(
        f"{report.device}, {report.threads} CPU threads, torch {report.torch}; "
        f"{report.rounds} rounds over {report.num_scans} scans of {report.num_points:,} points"
    )
