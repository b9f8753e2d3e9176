"""elite pseudolabel: dense labels of camera images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elite.cli.options import Device, Json, choose_device
from elite.cli.output import console, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from elite.pseudo_label import PseudoLabelConfig, PseudoLabelReport, TruthComparison


def pseudolabel(
    data: Annotated[Path, typer.Option(help="Folder with sequences/NN, with images.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="As in sam.size=vit_b visibility.rows=4."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for the pseudo-labels. Default: --data.")
    ] = None,
    segmenter: Annotated[
        str, typer.Option(help="sam, or superpixels, which need no checkpoint.")
    ] = "sam",
    checkpoint: Annotated[Path | None, typer.Option(help="SAM's official .pth file.")] = None,
    config: Annotated[str, typer.Option(help="A YAML file, or a shipped one.")] = "pseudo_labels",
    split: Annotated[str, typer.Option(help="A split, or sequences as in 00,01.")] = "train",
    spec: Annotated[
        str, typer.Option(help="Data set: a YAML, or a shipped one.")
    ] = "semantic_kitti",
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="This process makes every N-th frame from I on.")
    ] = "0/1",
    device: Device = None,
    json: Json = False,
) -> None:
    """Turn the labels of points into labels of pixels; repeat the call to go on after a stop."""
    from elite.config import load_config
    from elite.data import DatasetSpec
    from elite.engine.progress import tracked
    from elite.pseudo_label import (
        PseudoLabelConfig,
        Shard,
        compare_with_truth,
        make_pseudo_labels,
        write_contact_sheet,
    )

    changes = [f"segmenter={segmenter}", *(overrides or [])]
    if checkpoint is not None:
        changes.append(f"sam.checkpoint={checkpoint}")
    settings: PseudoLabelConfig = load_config(PseudoLabelConfig, config, changes)
    data_spec, folder = DatasetSpec.load(spec), output or data
    report = make_pseudo_labels(
        data,
        folder,
        data_spec,
        split,
        settings,
        device=choose_device(device),
        shard=Shard.parse(shard),
        progress=lambda frames: tracked(frames, "segmenting"),
    )
    truth = None
    if report.complete:
        write_contact_sheet(data, folder, data_spec, split, settings.visibility)
        truth = compare_with_truth(data, folder, data_spec, split)
    if json:
        print_json(_Result(report, truth))
        return
    _print(report, truth)


@dataclass
class _Result:
    report: PseudoLabelReport
    truth: TruthComparison | None


def _print(report: PseudoLabelReport, truth: TruthComparison | None) -> None:
    quality = report.quality
    console.print(
        f"{report.made} of {report.num_frames} frames made, {quality.num_images} there: "
        f"labels on {quality.coverage:.1%} of the pixels instead of {quality.sparse_coverage:.1%}, "
        f"{quality.agreement:.1%} of the labelled ones keep theirs; "
        f"{quality.hidden:.1%} of the points are hidden from the camera"
    )
    if quality.lost_classes:
        console.print(f"classes that no pixel has any more: {', '.join(quality.lost_classes)}")
    if not report.complete:
        console.print("other frames of the split are missing: run their shards, or this one again")
        return
    if truth is not None:
        console.print(_truth_table(truth))
    console.print(f"written: {report.output}")


def _truth_table(truth: TruthComparison) -> Table:
    from rich.table import Table

    rows = {
        "mIoU, all pixels": (truth.everywhere, truth.nearest_everywhere, "miou_present"),
        "accuracy, all pixels": (truth.everywhere, truth.nearest_everywhere, "accuracy"),
        "accuracy, covered pixels": (truth.covered, truth.nearest_covered, "accuracy"),
        "accuracy, gaps filled": (truth.filled, truth.nearest_everywhere, "accuracy"),
    }
    table = Table("against the truth of every pixel", "pseudo-labels", "nearest point")
    for title, (ours, nearest, figure) in rows.items():
        table.add_row(title, f"{getattr(ours, figure):.1%}", f"{getattr(nearest, figure):.1%}")
    table.add_row("coverage", f"{truth.coverage:.1%}", "100.0%")
    table.add_row("sky with a label", f"{truth.spilled:.1%}", "100.0%")
    return table
