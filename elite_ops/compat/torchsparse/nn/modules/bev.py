"""Bird's-eye views, which have no face here."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = [
    "ToBEVConvolution",
    "ToBEVHeightCompression",
    "ToBEVReduction",
    "ToDenseBEVConvolution",
]


class _WithoutFace(nn.Module):
    """Imported by name; made by nobody.

    Raises:
        NotImplementedError: when it is made.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise NotImplementedError(
            f"{type(self).__name__}: has no face here; elite_ops.SparseTensor.bev() makes a dense "
            "bird's-eye view"
        )


class ToBEVReduction(_WithoutFace):
    pass


class ToBEVConvolution(_WithoutFace):
    pass


class ToDenseBEVConvolution(_WithoutFace):
    pass


class ToBEVHeightCompression(_WithoutFace):
    pass
