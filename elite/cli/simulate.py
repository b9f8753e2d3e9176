"""elite simulate: an endless synthetic street."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elite.cli.options import Json
from elite.cli.output import console, print_json
from elite.errors import EliteError


def simulate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="sequences/NN is made in it.")],
    sequences: Annotated[
        list[str], typer.Option("--sequence", metavar="NN=FRAMES", help="May be repeated.")
    ] = ["00=20", "08=5"],  # noqa: B006  # typer copies it
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another street.")] = 0,
    sensor: Annotated[str, typer.Option(help="The scanner's model.")] = "HDL-64E",
    workers: Annotated[
        int | None, typer.Option(help="Processes. Default: one for each core.")
    ] = None,
    json: Json = False,
) -> None:
    """Write synthetic scans with labels, images and calibration; repeat to go on."""
    from elite.data import DatasetSpec, check_data
    from elite.data.street import SENSORS
    from elite.data.street import simulate as run
    from elite.engine.progress import counted

    if sensor not in SENSORS:
        raise EliteError(f"there is no sensor {sensor!r}", f"Sensors: {', '.join(SENSORS)}.")
    frames = dict(parse_sequence(text) for text in sequences)
    with counted("frames") as report:
        run(
            folder,
            sequences=frames,
            seed=seed,
            sensor=SENSORS[sensor],
            workers=workers,
            progress=report,
        )
    result = check_data(folder, DatasetSpec.load("semantic_kitti"))
    if json:
        print_json(result)
        return
    console.print(f"{result.num_scans} scans, {result.num_points:,} points in {folder}")


def parse_sequence(text: str) -> tuple[str, int]:
    """ "00=20" as name and number of frames."""
    name, equals, count = text.partition("=")
    if not (name.isdigit() and equals and count.isdigit()):
        raise EliteError(f"a sequence is written NN=FRAMES, as in 00=20, got {text!r}")
    return name, int(count)
