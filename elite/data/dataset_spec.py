"""What tells one labelled data set from another: classes, raw ids, splits and colours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elite.config import load_config
from elite.data.scan_files import PointFormat
from elite.errors import EliteError

__all__ = ["ClassSpec", "DatasetSpec", "class_weights"]

NUM_RAW_IDS = 1 << 16  # a .label file keeps 16 bits for the semantic id
UNKNOWN = -1


@dataclass(frozen=True)
class ClassSpec:
    """One class; its learning id is its row in `DatasetSpec.classes`.

    Attributes:
        raw_ids: the ids in label files that mean this class; the first is the one to write.
        count: points in the training split, 0 where the class is not learned.
        colour: red, green, blue.
    """

    name: str
    raw_ids: tuple[int, ...]
    count: int
    colour: tuple[int, int, int]


@dataclass(frozen=True)
class DatasetSpec:
    """A data set in the SemanticKITTI layout; class 0 is the unlabelled one.

    Attributes:
        points: how the files of points are written.
        num_scans: how many scans a sequence has, where it is known; a submission is checked by it.
    """

    name: str
    classes: tuple[ClassSpec, ...]
    splits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    points: PointFormat = field(default_factory=PointFormat)
    num_scans: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, source: str | Path) -> DatasetSpec:
        """Reads a YAML file, or a shipped one by its name, as in `load("semantic_kitti")`."""
        return load_config(cls, source)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.classes]

    @cached_property
    def colours(self) -> NDArray[np.uint8]:  # [num_classes, 3]
        return np.array([c.colour for c in self.classes], dtype=np.uint8)

    @cached_property
    def counts(self) -> NDArray[np.int64]:  # [num_classes]
        return np.array([c.count for c in self.classes], dtype=np.int64)

    @cached_property
    def _to_learning(self) -> NDArray[np.int64]:
        table = np.full(NUM_RAW_IDS, UNKNOWN, dtype=np.int64)
        for learning_id, row in enumerate(self.classes):
            for raw_id in row.raw_ids:
                if table[raw_id] != UNKNOWN:
                    raise EliteError(f"{self.name}: raw id {raw_id} belongs to two classes")
                table[raw_id] = learning_id
        return table

    @cached_property
    def _to_raw(self) -> NDArray[np.uint32]:
        return np.array([c.raw_ids[0] for c in self.classes], dtype=np.uint32)

    def unknown_ids(self, raw_labels: NDArray[np.unsignedinteger]) -> list[int]:
        """The ids among `raw_labels` that belong to no class."""
        present = np.flatnonzero(np.bincount(raw_labels.ravel(), minlength=NUM_RAW_IDS))
        return [int(i) for i in present[self._to_learning[present] == UNKNOWN]]

    def to_learning(
        self,
        raw_labels: NDArray[np.unsignedinteger],  # of points or pixels, below 65536
        source: str | Path = "labels",
    ) -> NDArray[np.int64]:
        """Learning ids of raw ids.

        Raises:
            EliteError: if an id belongs to no class; the message names the id and `source`.
        """
        labels: NDArray[np.int64] = self._to_learning[raw_labels]
        if labels.size and labels.min() == UNKNOWN:
            ids = ", ".join(str(i) for i in self.unknown_ids(raw_labels))
            raise EliteError(
                f"{source}: raw id {ids} belongs to no class of {self.name}",
                "Add it to the data set's YAML, or repair the label file.",
            )
        return labels

    def to_raw(self, labels: NDArray[np.integer]) -> NDArray[np.uint32]:
        """The raw ids that a prediction file holds for learning ids."""
        raw_labels: NDArray[np.uint32] = self._to_raw[labels]
        return raw_labels

    def sequences(self, split: str) -> tuple[str, ...]:
        """The sequences of a named split, or of a list such as "00,08" or "22-29,40"."""
        if split in self.splits:
            return self.splits[split]
        names = tuple(name for part in split.split(",") for name in _range(part.strip()))
        if names and all(name.isdigit() for name in names):
            return names
        raise EliteError(
            f"{self.name} has no split {split!r}",
            f"Splits: {', '.join(self.splits)}; or list sequences, as in 00,08 or 22-29.",
        )


def _range(part: str) -> Iterator[str]:
    """ "08" is itself; "08-11" is 08, 09, 10, 11, as wide as the first."""
    first, dash, last = part.partition("-")
    if not dash or not (first.isdigit() and last.isdigit()):
        yield part
        return
    for number in range(int(first), int(last) + 1):
        yield str(number).zfill(len(first))


def class_weights(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Loss weight of each class: the cube root of the most frequent count over its own.

    Class 0 is not learned and weighs 0; so does a class without points, whose weight would be
    infinite.
    """
    learned = counts.astype(np.float64)
    learned[0] = 0
    weights = np.zeros(len(counts), dtype=np.float32)
    present = learned > 0
    weights[present] = np.cbrt(learned.max(initial=0) / learned[present])
    return weights
