"""Pseudo-labels of a whole split: any number of processes, interrupted and repeated at will."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from elite.config import to_mapping
from elite.data import (
    DatasetSpec,
    Frame,
    PseudoLabelManifest,
    SemanticKitti,
    held_out_sequences,
)
from elite.data.pseudo_label_manifest import MANIFEST
from elite.errors import EliteError
from elite.files import remove_leftovers, write_shared
from elite.pseudo_label.config import PseudoLabelConfig
from elite.pseudo_label.masks import Masks
from elite.pseudo_label.paint import paint
from elite.pseudo_label.quality import FrameQuality, Quality, frame_quality, total_quality
from elite.pseudo_label.records import FrameFiles
from elite.pseudo_label.sam import SamSegmenter
from elite.pseudo_label.scatter import ImageLabels, ProjectedPoints, scatter_points, visible_points
from elite.pseudo_label.superpixels import SuperpixelSegmenter
from elite.types import Scan

__all__ = [
    "PseudoLabelReport",
    "Segmenter",
    "Shard",
    "build_segmenter",
    "densify",
    "make_pseudo_labels",
]

# Raise it with every change to the labels that the same settings give.
GENERATION = 1
SUMMARY = "summary.json"

Progress = Callable[[Iterable[int]], Iterable[int]]


class Segmenter(Protocol):
    """Anything that finds masks in an image; the points may prompt it."""

    def describe(self) -> dict[str, Any]:
        """Its name, and the version or the hash of what it runs on."""
        ...

    def segment(
        self,
        image: NDArray[np.uint8],  # [H, W, 3]
        points: ProjectedPoints,
    ) -> Masks: ...


@dataclass(frozen=True)
class Shard:
    """Every `count`-th frame, from `index` on; the shards of a split have no frame in common."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """ "2/8" as the third of eight shards."""
        index, slash, count = text.partition("/")
        if not (slash and index.isdigit() and count.isdigit() and int(index) < int(count)):
            raise EliteError(f"a shard is written i/n with 0 <= i < n, as in 0/4, got {text!r}")
        return cls(int(index), int(count))


@dataclass
class PseudoLabelReport:
    """What a call did, and what is there now.

    Attributes:
        made: frames that this call made; those that were complete before are not made again.
        num_frames: of this shard.
        complete: whether every frame of the split is there.
        quality: over the frames of the split that are there.
    """

    output: str
    made: int
    num_frames: int
    complete: bool
    quality: Quality


def build_segmenter(config: PseudoLabelConfig, device: torch.device) -> Segmenter:
    """The segmenter that the configuration names."""
    if config.segmenter == "superpixels":
        return SuperpixelSegmenter(config.superpixels)
    return SamSegmenter(config.sam, device)


def make_pseudo_labels(
    data: Path,
    output: Path,
    spec: DatasetSpec,
    split: str,
    config: PseudoLabelConfig,
    *,
    device: torch.device | str = "cpu",
    shard: Shard = Shard(),
    progress: Progress = iter,
) -> PseudoLabelReport:
    """Writes `sequences/NN/pseudo_labels/{semantic,instance}/NNNNNN.png` below `output`.

    The images hold 16-bit raw ids, as label files do. Frames that are complete are left alone; a
    call that was killed is simply repeated.

    Args:
        data: holds `sequences/NN` with points, labels, images and calibration.
        output: may be `data` itself.
        progress: wraps the numbers of the frames that are gone through.

    Raises:
        EliteError: if a file is missing or broken, or if `output` holds pseudo-labels of other
            settings.
    """
    scans = SemanticKitti([data], split, spec, images=True)
    segmenter = build_segmenter(config, torch.device(device))
    _settle_manifest(output, _manifest(spec, split, config, segmenter))
    mine = range(shard.index, len(scans), shard.count)
    made = 0
    for index in progress(mine):
        files = FrameFiles(scans.frames[index], output)
        if not files.is_complete():
            files.write(*densify(scans[index], segmenter, config, spec), spec)
            made += 1
    qualities = _recorded(scans.frames, output)
    complete = len(qualities) == len(scans)
    quality = total_quality(qualities, spec)
    if complete:
        text = json.dumps(to_mapping(quality), indent=2) + "\n"
        write_shared(output / SUMMARY, text.encode())
    return PseudoLabelReport(str(output), made, len(mine), complete, quality)


def densify(
    scan: Scan, segmenter: Segmenter, config: PseudoLabelConfig, spec: DatasetSpec
) -> tuple[ImageLabels, FrameQuality]:
    """Dense labels of one image from the labels of its scan."""
    points = visible_points(scan, config.visibility)
    assert scan.image is not None
    sparse = scatter_points(points.pixel, points, points.image_size)
    masks = segmenter.segment(scan.image, points)
    dense, painted = paint(masks, sparse, points.unlabelled_pixel, config.min_labelled)
    return dense, frame_quality(points, sparse, dense, painted, spec.num_classes)


def _manifest(
    spec: DatasetSpec, split: str, config: PseudoLabelConfig, segmenter: Segmenter
) -> PseudoLabelManifest:
    """Says what the labels depend on; where a checkpoint lies is no part of that, its hash is."""
    settings = to_mapping(config)
    unused = "sam" if config.segmenter == "superpixels" else "superpixels"
    del settings[unused]
    for name in ("checkpoint", "batch_size"):
        settings.get("sam", {}).pop(name, None)
    sequences = spec.sequences(split)
    return PseudoLabelManifest(
        generation=GENERATION,
        dataset=spec.name,
        split=split,
        sequences=sequences,
        held_out=held_out_sequences(spec, sequences),
        settings=settings,
        model=segmenter.describe(),
    )


def _settle_manifest(output: Path, manifest: PseudoLabelManifest) -> None:
    """Writes the manifest of a new folder; an old one must be equal."""
    path = output / MANIFEST
    while not path.is_file():
        write_shared(path, manifest.dumps().encode())
    remove_leftovers(path)
    if path.read_text(encoding="utf-8") != manifest.dumps():
        raise EliteError(
            f"{output}: holds pseudo-labels that were made with other settings ({path})",
            "Delete them, or write to another folder.",
        )


def _recorded(frames: list[Frame], output: Path) -> list[FrameQuality]:
    """The figures of all frames that have a record."""
    records = [FrameFiles(frame, output).read() for frame in frames]
    return [record.quality for record in records if record is not None]
