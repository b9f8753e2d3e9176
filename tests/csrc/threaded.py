"""Builds and runs the programs of tests/csrc/threads."""

import subprocess
from pathlib import Path

import pytest
from programs import ROOT, make, run


def build(*programs: str) -> Path:
    """Makes build/threads/<program>; returns that folder."""
    folder = Path("build") / "threads"
    make(*(folder / program for program in programs))
    return ROOT / folder


def run_threads(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Skips where the kernel's address layout is one that this ThreadSanitizer can't work in."""
    done = run(*command)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("this compiler's ThreadSanitizer needs vm.mmap_rnd_bits of 28 at most")
    return done
