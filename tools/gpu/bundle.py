"""What `make gpu-bundle` packs here and `link.py` unpacks on the GPU machine."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import build_flags

__all__ = ["BUNDLE", "MODULE", "OBJECTS", "Manifest", "checksums", "object_name", "source_paths"]

BUNDLE = Path("build/bundle")
OBJECTS = BUNDLE / "objects.tar.xz"
MANIFEST = BUNDLE / "manifest.json"
MODULE = "csrc/bindings/module.cpp"  # alone sees Python's headers


@dataclass(frozen=True)
class Manifest:
    """What the objects were compiled from and for.

    Attributes:
        torch: the full version, such as 2.11.0+cu130.
        python: whose headers module.cpp saw, such as 3.12; empty where it was not compiled.
        sources: the SHA-256 of each file that an object depends on.
    """

    torch: str
    python: str
    architectures: str
    sources: dict[str, str]

    def write(self) -> None:
        MANIFEST.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls) -> Manifest:
        return cls(**json.loads(MANIFEST.read_text()))


def object_name(source: str) -> str:
    """Of a source named from the project's root."""
    return f"{source.removeprefix('csrc/')}.o"


def source_paths() -> list[str]:
    """All that is compiled, and all that decides how."""
    headers = sorted(str(path) for path in Path("csrc").glob("*/*.*h"))
    return [*build_flags.sources(with_cuda=True), *headers, "tools/build_flags.py"]


def checksums(paths: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of each file that exists."""
    return {
        path: hashlib.sha256(Path(path).read_bytes()).hexdigest()
        for path in paths
        if Path(path).is_file()
    }
