"""Brings other libraries' wheels along to a machine without a network, and unpacks them there.

    python benchmarks/unpack_wheels.py FOLDER TARGET
    python benchmarks/unpack_wheels.py --shrink FOLDER

The first unpacks every wheel of a folder into one that PYTHONPATH can name; no installer is needed.
The second packs the wheels again with LZMA, for where little can be brought along.

A file NAME.xz, in a wheel or beside it in the folder, becomes NAME.
"""

from __future__ import annotations

import argparse
import lzma
import shutil
import sys
import zipfile
from pathlib import Path, PurePosixPath

__all__ = ["shrink", "unpack"]


def unpack(folder: Path, target: Path) -> list[str]:
    """Unpacks what `folder` holds into `target`, emptied before; returns the names of the wheels.

    Folders of a wheel keep their names, so that libraries find each other by relative paths.

    Raises:
        ValueError: if a wheel would write outside of the target.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            _refuse_escapes(archive, target)
            archive.extractall(target)
        _merge_data(target)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".whl":
            copy = target / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    for path in sorted(target.rglob("*.xz")):
        with lzma.open(path) as packed, open(path.with_suffix(""), "wb") as file:
            shutil.copyfileobj(packed, file)
        path.unlink()
    return [wheel.name for wheel in wheels]


def _refuse_escapes(archive: zipfile.ZipFile, target: Path) -> None:
    for name in archive.namelist():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"unpack: a wheel for {target} holds the path {name}")


def _merge_data(target: Path) -> None:
    """Moves what a wheel wants in site-packages there; its scripts and headers are not needed."""
    for data in target.glob("*.data"):
        for part in ("purelib", "platlib"):
            if (data / part).is_dir():
                shutil.copytree(data / part, target, dirs_exist_ok=True)
        shutil.rmtree(data)


def shrink(folder: Path) -> tuple[int, int]:
    """Packs the wheels of a folder again, in place; returns their bytes before and after."""
    before = after = 0
    for wheel in sorted(folder.glob("*.whl")):
        before += wheel.stat().st_size
        temporary = wheel.with_suffix(".tmp")
        with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(temporary, "w") as new:
            for item in old.infolist():
                new.writestr(item, old.read(item), compress_type=zipfile.ZIP_LZMA)
        temporary.replace(wheel)
        after += wheel.stat().st_size
    return before, after


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path, nargs="?")
    parser.add_argument("--shrink", action="store_true", help="pack the wheels again, smaller")
    options = parser.parse_args(arguments)
    if options.shrink:
        before, after = shrink(options.folder)
        print(f"{before / 2**20:.1f} MiB became {after / 2**20:.1f} MiB")
    if options.target:
        if not options.folder.is_dir():
            print(f"no folder {options.folder}: other libraries will be reported as missing")
            options.target.mkdir(parents=True, exist_ok=True)
            return 0
        for name in unpack(options.folder, options.target):
            print(f"unpacked {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
