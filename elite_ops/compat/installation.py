"""A face in place of the library that it stands for, in programs whose imports can't be changed."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, DistributionFinder
from types import ModuleType
from typing import Any

__all__ = ["install_package"]


def install_package(face: str, name: str) -> None:
    """Registers a package of this library, and all modules in it, under another library's name.

    `importlib.util.find_spec` and `importlib.metadata.version` find it by that name too; a second
    call does no harm.

    Args:
        face: the package, as it is imported from here.
        name: what programs import.

    Raises:
        ImportError: if the other library has been imported already.
    """
    package = importlib.import_module(face)
    loaded = sys.modules.get(name)
    if loaded is not None and loaded is not package:
        raise ImportError(
            f"{face}.install: `{name}` has been imported already, from "
            f"{getattr(loaded, '__file__', None) or 'an unknown place'}; call install() before "
            "anything imports it"
        )
    for module in _modules(package):
        sys.modules[name + module.__name__.removeprefix(face)] = module
    _finder.packages[name] = package
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)


def _modules(package: ModuleType) -> list[ModuleType]:
    """The package and all that is in it, but what starts with an underscore."""
    prefix = package.__name__ + "."
    found = [package]
    for info in pkgutil.walk_packages(package.__path__, prefix):
        if not info.name.rpartition(".")[2].startswith("_"):
            found.append(importlib.import_module(info.name))
    return found


class _Distribution(Distribution):
    """What `importlib.metadata.version` reads."""

    def __init__(self, name: str, package: ModuleType) -> None:
        self._name, self._package = name, package

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        version = self._package.__version__
        return f"Metadata-Version: 2.1\nName: {self._name}\nVersion: {version}\n"

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(
            f"{self._name} is not installed, but {self._package.__name__} in its place"
        )


class _Finder(DistributionFinder):
    """Finds versions, behind every other finder; modules are found in `sys.modules`."""

    def __init__(self) -> None:
        self.packages: dict[str, ModuleType] = {}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        return None

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        asked = None if context is None else context.name
        return [
            _Distribution(name, package)
            for name, package in self.packages.items()
            if asked is None or _normal(asked) == _normal(name)
        ]


def _normal(name: str) -> str:
    """A distribution's name, of which case and kind of dashes don't count."""
    return re.sub(r"[-_.]+", "_", name).lower()


_finder = _Finder()
