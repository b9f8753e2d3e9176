"""A picture of some of the pseudo-labels: points, result, and the truth where it is known."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elite.data import DatasetSpec, SemanticKitti, read_pseudo_labels
from elite.files import write_shared
from elite.pictures import contact_sheet, dense_overlay, sparse_overlay
from elite.pseudo_label.config import VisibilityConfig
from elite.pseudo_label.scatter import scatter_points, visible_points
from elite.pseudo_label.truth import true_pixels

__all__ = ["CONTACT_SHEET", "write_contact_sheet"]

CONTACT_SHEET = "contact_sheet.jpg"


def write_contact_sheet(
    data: Path,
    output: Path,
    spec: DatasetSpec,
    split: str,
    config: VisibilityConfig,
    *,
    most: int = 6,
) -> Path | None:
    """Writes a picture of frames that are evenly chosen among those with pseudo-labels, if any."""
    scans = SemanticKitti([data], split, spec, images=True)
    made = [i for i, frame in enumerate(scans.frames) if frame.pseudo_labels(output).is_file()]
    chosen = [made[i * len(made) // most] for i in range(most)] if len(made) > most else made
    rows, labels = [], []
    for index in chosen:
        pictures, shown = _pictures(scans, index, output, config)
        rows.append(pictures)
        labels.append(shown)
    if not rows:
        return None
    path = output / CONTACT_SHEET
    picture = BytesIO()
    contact_sheet(rows, labels, spec).save(picture, format="JPEG", quality=88)
    write_shared(path, picture.getvalue())
    return path


def _pictures(
    scans: SemanticKitti, index: int, output: Path, config: VisibilityConfig
) -> tuple[dict[str, Image.Image], NDArray[np.int64]]:
    """The titled pictures of one frame, and its labels."""
    scan, frame, spec = scans[index], scans.frames[index], scans.spec
    assert scan.image is not None
    points = visible_points(scan, config)
    sparse = scatter_points(points.pixel, points, points.image_size)
    dense = read_pseudo_labels(frame.pseudo_labels(output), spec, points.image_size)
    pictures = {
        f"{scan.name}: visible points": sparse_overlay(scan.image, sparse.labels, spec),
        f"{scan.name}: pseudo-labels": dense_overlay(scan.image, dense, spec),
    }
    truth = true_pixels(frame)
    if truth is not None:
        exact = read_pseudo_labels(truth, spec, points.image_size)
        pictures[f"{scan.name}: truth"] = dense_overlay(scan.image, exact, spec)
    return pictures, dense
