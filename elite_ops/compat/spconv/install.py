"""`import spconv` finds this package."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder
from types import ModuleType
from typing import Any

from elite_ops.compat.spconv import constants

__all__ = ["install"]

PACKAGE = "elite_ops.compat.spconv"
METADATA = "Metadata-Version: 2.1\nName: spconv\nVersion: 2.3.8\n"


def install(*, legacy_indice_reuse: bool = False) -> None:
    """Makes `import spconv` and `import spconv.pytorch` find this package, in this process.

    Call it before anything imports spconv; a second call does no harm. Where there is no cumm,
    `cumm.tensorview.from_numpy` is there too, for `Point2VoxelCPU3d`.

    Args:
        legacy_indice_reuse: whether submanifold convolutions that share an `indice_key` may have
            other kernels of as many offsets than the first, whose map they use, as in spconv 1.x.
            Weights that were trained so need it, such as the published ones of Cylinder3D.

    Raises:
        ImportError: if spconv itself is loaded.
    """
    loaded = sys.modules.get("spconv")
    ours = importlib.import_module(PACKAGE)
    if loaded is not None and loaded is not ours:
        raise ImportError(
            "install: spconv itself is loaded already, from "
            f"{getattr(loaded, '__file__', None) or 'an unknown place'}; call install() before "
            "anything imports it"
        )
    constants.LEGACY_INDICE_REUSE = legacy_indice_reuse
    if loaded is ours:
        return
    for name in _modules(ours):
        sys.modules["spconv" + name.removeprefix(PACKAGE)] = importlib.import_module(name)
    _install_tensorview()
    sys.meta_path.append(_Finder())


def _modules(package: ModuleType) -> list[str]:
    found = pkgutil.walk_packages(package.__path__, f"{PACKAGE}.")
    return [PACKAGE, *(module.name for module in found)]


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


class _Distribution(Distribution):
    """What `importlib.metadata.version("spconv")` reads."""

    def read_text(self, filename: str) -> str | None:
        return METADATA if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(f"spconv is not installed, but {PACKAGE} in its place")


class _Finder(DistributionFinder):
    """Finds the version, behind every other finder; modules are found in `sys.modules`."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        return None

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        name = None if context is None else context.name
        return [_Distribution()] if name in (None, "spconv") else []
