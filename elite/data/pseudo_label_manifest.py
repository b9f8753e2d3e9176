"""The manifest of pseudo-labels: what they were made of, and whether to train on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elite.config import ConfigError, from_mapping, to_mapping
from elite.data.dataset_spec import DatasetSpec
from elite.errors import EliteError

__all__ = ["MANIFEST", "PseudoLabelManifest", "held_out_sequences", "refuse_held_out"]

MANIFEST = "manifest.json"
REMAKE = "`elite pseudolabel` makes pseudo-labels."


@dataclass(frozen=True)
class PseudoLabelManifest:
    """All that a pseudo-label depends on, apart from its own frame.

    Attributes:
        generation: of the method; it changes whenever the same settings give other labels.
        dataset: the name of the `DatasetSpec`.
        split: as it was asked for, a name or sequences.
        sequences: those of the split.
        held_out: those of them that belong to a split that is not for training.
        settings: the configuration that decides the labels.
        model: what segmented the images, with the hash of its weights or its version.
    """

    generation: int
    dataset: str
    split: str
    sequences: tuple[str, ...]
    held_out: tuple[str, ...]
    settings: dict[str, Any]
    model: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> PseudoLabelManifest:
        """The manifest of a folder that `elite pseudolabel` wrote.

        Raises:
            EliteError: if there is none, or if it is not one.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise EliteError(f"{folder}: there is no {MANIFEST} of pseudo-labels", REMAKE)
        try:
            mapping = json.loads(path.read_text(encoding="utf-8"))
            raw = {name: mapping.pop(name) for name in ("settings", "model")}
            empty: dict[str, Any] = {"settings": {}, "model": {}}
            return cls(**{**vars(from_mapping(cls, {**mapping, **empty})), **raw})
        except (ValueError, KeyError, TypeError, ConfigError) as error:
            raise EliteError(
                f"{path}: not a manifest of pseudo-labels ({error})", REMAKE
            ) from error

    def dumps(self) -> str:
        """The text of the file; equal manifests have equal texts."""
        return json.dumps(to_mapping(self), indent=2, sort_keys=True) + "\n"


def held_out_sequences(spec: DatasetSpec, sequences: Sequence[str]) -> tuple[str, ...]:
    """Those of `sequences` that any split but `train` claims, such as the validation split's."""
    claimed = {s for split, names in spec.splits.items() if split != "train" for s in names}
    return tuple(sequence for sequence in sequences if sequence in claimed)


def refuse_held_out(folder: Path, *, allow: bool = False) -> PseudoLabelManifest:
    """Reads the manifest of pseudo-labels that are to be trained on.

    Pseudo-labels carry the true labels of their scans. A network that trains on those of the
    validation split is scored on what it has seen.

    Raises:
        EliteError: if they were made from a held-out split, unless `allow`.
    """
    manifest = PseudoLabelManifest.read(folder)
    if manifest.held_out and not allow:
        raise EliteError(
            f"{folder}: made from sequences {', '.join(manifest.held_out)}, which "
            f"{manifest.dataset} holds out for validation or test",
            "Make pseudo-labels of the training split, or allow these explicitly.",
        )
    return manifest
