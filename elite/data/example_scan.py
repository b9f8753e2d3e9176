"""A scan for scripts that take the path of one, or none."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from elite.data.scan_files import read_points
from elite.data.street import Street
from elite.errors import EliteError

__all__ = ["example_scan"]


def example_scan(path: str | None) -> Tensor:  # [N, 4] float32: x, y, z (m), remission
    """A scan of SemanticKITTI (.bin), or one of the synthetic street.

    Raises:
        SystemExit: with a sentence, if the file can't be read.
    """
    if path is None:
        return torch.from_numpy(Street(0).frame(0).points)
    try:
        return torch.from_numpy(read_points(Path(path)))
    except (EliteError, OSError) as error:
        raise SystemExit(str(error)) from None
