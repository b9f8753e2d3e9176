"""Contestants of the benchmarks: this library, its plain definition, and other libraries.

Other libraries are optional: `load` says what is missing. Nothing of theirs is copied; each module
speaks to one of them through its public functions.
"""

from __future__ import annotations

import importlib

from peers.contestant import Contestant, Missing

__all__ = ["CONTESTANTS", "Contestant", "Missing", "load"]

# The name in results, and the module and class that speak for it.
CONTESTANTS = {
    "elite_ops": ("peers.ours", "Ours"),
    "elite_ops_ordered": ("peers.ours", "OursOrdered"),
    "reference": ("peers.plain", "Plain"),
    "spconv": ("peers.of_spconv", "Spconv"),
    "spconv_split": ("peers.of_spconv", "SpconvSplit"),
    "spconv_triton": ("peers.of_spconv", "SpconvTriton"),
    "ocnn": ("peers.of_ocnn", "Ocnn"),
    "warpconvnet": ("peers.of_warpconvnet", "WarpConvNet"),
}


def load(name: str) -> type[Contestant]:
    """The class that speaks for a contestant.

    Raises:
        Missing: if its library can't be imported, with the reason.
    """
    module, class_name = CONTESTANTS[name]
    contestant: type[Contestant] = getattr(importlib.import_module(module), class_name)
    try:
        contestant.library()
    except Exception as error:  # a library of others may fail in any way
        raise Missing(f"{name}: {type(error).__name__}: {error}") from error
    return contestant
