"""The commands keep freed memory: after the first steps, large tensors take nothing new."""

import json
import platform
import subprocess
import sys

import pytest

TENSOR = 80_000_000  # bytes
PROGRAM = f"""
import ctypes, json, sys, torch
if sys.argv[1] == "keep":
    from elite.cli.allocator import keep_freed_memory
    keep_freed_memory()
class MallInfo(ctypes.Structure):
    FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_int) for name in FIELDS.split())
mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = MallInfo
def step():
    torch.ones({TENSOR} // 4).sum()
    info = mallinfo()
    return info.arena, info.fordblks
print(json.dumps([step() for _ in range(8)]))
"""


def steps(mode: str) -> list[tuple[int, int]]:
    """After each step: bytes of malloc's heap, and how many of them are free."""
    found = subprocess.check_output([sys.executable, "-c", PROGRAM, mode], text=True)
    return [(heap, free) for heap, free in json.loads(found)]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator only")
def test_freed_memory_is_kept_and_used_again() -> None:
    assert all(free < TENSOR for _, free in steps("default"))
    kept = steps("keep")
    assert all(free >= TENSOR for _, free in kept)
    assert kept[3:] == [kept[3]] * 5  # the first may still look for a place
