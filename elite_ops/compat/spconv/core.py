"""The algorithms between which spconv's layers choose. Here they have no effect."""

from __future__ import annotations

from enum import Enum

__all__ = ["AlgoHint", "ConvAlgo"]


class ConvAlgo(Enum):
    Native = 0
    MaskImplicitGemm = 1
    MaskSplitImplicitGemm = 2


class AlgoHint(Enum):
    NoHint = 0b000
    Fowrard = 0b001  # spconv's spelling
    BackwardInput = 0b010
    BackwardWeight = 0b100
