"""Says what each call to a GPU machine carries, and whether it fits.

    python tools/gpu/sizes.py --limit 64

The limit is in MiB. The exit status is 1 where a call carries more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bundle import BUNDLE

__all__ = ["PARTS", "Part", "megabytes", "report"]

BOTH, SECOND = (1, 2), (2,)


@dataclass(frozen=True)
class Part:
    """A file or folder that is carried, and by which calls."""

    path: Path
    calls: tuple[int, ...]
    about: str


PARTS = [
    Part(BUNDLE / "objects.tar.xz", BOTH, "the extension, to be linked"),
    Part(BUNDLE / "scans.tar.xz", BOTH, "real scans"),
    Part(BUNDLE / "wheels", BOTH, "what the library itself imports and may be missing there"),
    Part(Path("build/bundle-peers"), SECOND, "other libraries, to be compared with"),
]


def megabytes(path: Path) -> float:
    """Of a file, or of all files in a folder; 0 where there is none."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(p.stat().st_size for p in files) / 2**20


def tree_megabytes() -> float:
    """Of what git knows or doesn't ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return sum(megabytes(Path(name)) for name in listed.split("\0") if name)


def report(sizes: list[tuple[str, float, tuple[int, ...]]], limit: float) -> tuple[str, bool]:
    """A table in MiB with a column for each call, and whether both fit."""
    width = max(len(name) for name, *_ in sizes)
    lines = [f"{'MiB':{width}}  call 1  call 2"]
    totals = [0.0, 0.0]
    for name, size, calls in sizes:
        columns = [size if call in calls else 0.0 for call in BOTH]
        totals = [t + c for t, c in zip(totals, columns, strict=True)]
        lines.append(f"{name:{width}}" + "".join(f"{c:8.1f}" for c in columns))
    lines.append(f"{f'together, of {limit:g}':{width}}" + "".join(f"{t:8.1f}" for t in totals))
    return "\n".join(lines), max(totals) <= limit


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--limit", type=float, default=64.0)
    limit = parser.parse_args().limit
    sizes = [("the tree", tree_megabytes(), BOTH)]
    sizes += [(f"{p.path}: {p.about}", megabytes(p.path), p.calls) for p in PARTS]
    text, fits = report(sizes, limit)
    print(text)
    if not fits:
        print(f"sizes: a call carries more than {limit:g} MiB; leave out wheels or scans")
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
