"""Packs the objects that `make gpu-bundle` compiled, with a note of what they were made of.

python tools/gpu/pack.py --torch FOLDER --python 3.12 --architectures 9.0a FOLDER OBJECTS...
"""

from __future__ import annotations

import argparse
import runpy
import tarfile
from collections.abc import Iterable
from pathlib import Path

from bundle import BUNDLE, OBJECTS, Manifest, checksums, source_paths


def pack(folder: Path, objects: Iterable[Path], manifest: Manifest) -> None:
    """The note is written last: a bundle without it is ignored."""
    BUNDLE.mkdir(parents=True, exist_ok=True)
    with tarfile.open(OBJECTS, "w:xz") as archive:
        for path in objects:
            archive.add(path, path.relative_to(folder))
    manifest.write()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch", type=Path, required=True, help="the folder of the package")
    parser.add_argument("--python", default="", help="whose headers module.cpp saw, if any")
    parser.add_argument("--architectures", required=True)
    parser.add_argument("folder", type=Path, help="that the objects are in")
    parser.add_argument("objects", type=Path, nargs="+")
    options = parser.parse_args()
    version = runpy.run_path(str(options.torch / "version.py"))["__version__"]
    sources = checksums(source_paths())
    manifest = Manifest(version, options.python, options.architectures, sources)
    pack(options.folder, options.objects, manifest)


if __name__ == "__main__":
    main()
