"""The files of a folder of pseudo-labels, and which frames of it are complete.

A frame's record is written after its two images and holds the hashes of everything that it came
from and of everything that it became. A frame without a record that fits is made again, so a
process may be killed at any moment, and changed data are noticed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elite.config import ConfigError, from_mapping, to_mapping
from elite.data import DatasetSpec, Frame
from elite.errors import EliteError
from elite.files import remove_leftovers, replacing, sha256, write_text
from elite.pseudo_label.quality import FrameQuality
from elite.pseudo_label.scatter import ImageLabels

__all__ = ["FrameFiles", "FrameRecord"]

LARGEST_ID = 0xFFFF  # of a 16-bit image, as of a .label file


@dataclass(frozen=True)
class FrameRecord:
    """Hashes of a frame's sources and of its two images, and the figures of its quality."""

    sources: dict[str, str]
    images: dict[str, str]
    quality: FrameQuality


class FrameFiles:
    """What belongs to one frame: its sources, and what is made of them below `output`."""

    def __init__(self, frame: Frame, output: Path) -> None:
        self.semantic = frame.pseudo_labels(output)
        folder = self.semantic.parents[1]
        self.instance = folder / "instance" / self.semantic.name
        self.record = folder / "record" / f"{self.semantic.stem}.json"
        self._sources = {
            "points": frame.points,
            "labels": frame.labels,
            "image": frame.image,
            "calibration": frame.calibration,
        }

    def read(self) -> FrameRecord | None:
        """The record, if there is one."""
        try:
            return from_mapping(FrameRecord, json.loads(self.record.read_text(encoding="utf-8")))
        except (OSError, ValueError, ConfigError):
            return None

    def is_complete(self) -> bool:
        """Whether the images are there, whole, and made from the sources as they are now."""
        record = self.read()
        images = (self.semantic, self.instance)
        return (
            record is not None
            and all(path.is_file() for path in images)
            and record.images == self._hash_images()
            and record.sources == self._hash_sources()
        )

    def write(self, dense: ImageLabels, quality: FrameQuality, spec: DatasetSpec) -> None:
        """Writes the images, as raw ids, and then the record."""
        for path in (self.semantic, self.instance, self.record):
            remove_leftovers(path)  # no other process works on this frame
        largest = int(dense.instances.max(initial=0))
        if largest > LARGEST_ID:
            raise EliteError(f"{self.instance}: instance {largest} does not fit into 16 bits")
        _write_png(self.semantic, spec.to_raw(dense.labels))
        _write_png(self.instance, dense.instances)
        record = FrameRecord(self._hash_sources(), self._hash_images(), quality)
        write_text(self.record, json.dumps(to_mapping(record), indent=1, sort_keys=True) + "\n")

    def _hash_sources(self) -> dict[str, str]:
        return {name: sha256(path) for name, path in self._sources.items()}

    def _hash_images(self) -> dict[str, str]:
        return {"semantic": sha256(self.semantic), "instance": sha256(self.instance)}


def _write_png(path: Path, values: NDArray[np.integer]) -> None:
    with replacing(path) as temporary:
        Image.fromarray(values.astype(np.uint16)).save(temporary, format="PNG")
