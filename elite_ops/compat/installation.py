"""A face in place of the library that it stands for, in programs whose imports can't be changed."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from types import ModuleType

__all__ = ["install_package"]


def install_package(face: str, name: str) -> None:
    """Registers a package of this library, and all modules in it, under another library's name.

    Args:
        face: the package, as it is imported from here.
        name: what programs import.

    Raises:
        RuntimeError: if the other library has been imported already.
    """
    package = importlib.import_module(face)
    loaded = sys.modules.get(name)
    if loaded is not None and loaded is not package:
        raise RuntimeError(
            f"{face}.install: `{name}` has been imported already, from "
            f"{getattr(loaded, '__file__', None)}; call install() before anything imports it"
        )
    for module in _modules(package):
        sys.modules[name + module.__name__.removeprefix(face)] = module


def _modules(package: ModuleType) -> list[ModuleType]:
    """The package and all that is in it, but what starts with an underscore."""
    prefix = package.__name__ + "."
    found = [package]
    for info in pkgutil.walk_packages(package.__path__, prefix):
        if not info.name.rpartition(".")[2].startswith("_"):
            found.append(importlib.import_module(info.name))
    return found
