"""The commands keep freed memory: after the first step, large tensors cost no page faults."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
if sys.argv[1] == "keep":
    from elite.cli.allocator import keep_freed_memory
    keep_freed_memory()
def step():
    return torch.ones(20_000_000).sum()  # 80 MB
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator only")
def test_freed_memory_is_used_again() -> None:
    faults = {
        mode: int(subprocess.check_output([sys.executable, "-c", PROGRAM, mode], text=True))
        for mode in ("default", "keep")
    }
    # By default every step takes its 80 MB anew. Otherwise the second may still look for a place.
    assert faults["keep"] < faults["default"] / 2
