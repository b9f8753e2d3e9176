"""`import spconv` finds this package."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from elite_ops.compat.installation import install_package
from elite_ops.compat.spconv import constants

__all__ = ["install"]

PACKAGE = "elite_ops.compat.spconv"
LEGACY_MODULES = ("conv", "functional", "modules", "ops", "pool", "tables")  # where 1.x has them


def install(*, legacy_indice_reuse: bool = False) -> None:
    """Makes `import spconv` and `import spconv.pytorch` find this package, in this process.

    Call it before anything imports spconv; a second call does no harm. Where there is no cumm,
    `cumm.tensorview.from_numpy` is there too, for `Point2VoxelCPU3d`.

    Args:
        legacy_indice_reuse: whether submanifold convolutions that share an `indice_key` may have
            other kernels than the first, whose map they use, as in spconv 1.x; of more offsets
            than the first one's, all but as many are left out. Keys are then known to all tensors
            of a network, those of other branches too. Weights that were trained so need it, such
            as the published ones of Cylinder3D.

    Raises:
        ImportError: if spconv itself has been imported already.
    """
    install_package(PACKAGE, "spconv")
    for name in LEGACY_MODULES:
        sys.modules[f"spconv.{name}"] = importlib.import_module(f"{PACKAGE}.pytorch.{name}")
    constants.LEGACY_INDICE_REUSE = legacy_indice_reuse
    _install_tensorview()


def _install_tensorview() -> None:
    """spconv's users hand points over as `cumm.tensorview.from_numpy(points)`."""
    if "cumm" in sys.modules or importlib.util.find_spec("cumm") is not None:
        return
    tensorview = importlib.import_module(f"{PACKAGE}.tensorview")
    cumm: Any = ModuleType("cumm", "What spconv's users need of cumm.")
    cumm.__spec__ = importlib.util.spec_from_loader("cumm", loader=None, is_package=True)
    cumm.__path__ = []
    cumm.tensorview = tensorview
    sys.modules["cumm"] = cumm
    sys.modules["cumm.tensorview"] = tensorview
