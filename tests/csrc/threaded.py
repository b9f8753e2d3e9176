"""Builds and runs the programs of tests/csrc/threads."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def build(*programs: str) -> Path:
    """Makes build/threads/<program>; returns that folder."""
    folder = Path("build") / "threads"
    make = ["make", "--silent", f"-j{os.cpu_count()}", *(str(folder / p) for p in programs)]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / folder


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Skips where the kernel's address layout is one that this ThreadSanitizer can't work in."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("this compiler's ThreadSanitizer needs vm.mmap_rnd_bits of 28 at most")
    return done
