"""What the emulated device notices about memory: each fault ends a process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from elite_ops import _C

pytestmark = pytest.mark.skipif(
    not _C.emulates_cuda, reason="of the emulated device (make test-emulated)"
)
WRITE = """
import ctypes
import torch
import elite_ops
tensor = torch.empty({bytes}, dtype=torch.uint8)
ctypes.memset(tensor.data_ptr() + {place}, 0, 1)
del tensor
print("unnoticed")
"""


def write(folder: Path, *, size: int, place: int) -> subprocess.CompletedProcess[str]:
    code = WRITE.format(bytes=size, place=place)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_write_inside_is_fine(tmp_path: Path) -> None:
    done = write(tmp_path, size=100, place=99)
    assert done.stdout == "unnoticed\n", done.stderr


@pytest.mark.parametrize("size", [1, 5000])
def test_a_write_one_byte_past_the_end_is_told(tmp_path: Path, size: int) -> None:
    done = write(tmp_path, size=size, place=size)
    assert done.returncode != 0
    assert f"written past the end of a tensor of {size} bytes" in done.stderr


@pytest.mark.parametrize("size", [100, 4096])
def test_a_write_sixteen_bytes_past_the_end_hits_the_guard(tmp_path: Path, size: int) -> None:
    done = write(tmp_path, size=size, place=(size + 15) // 16 * 16)
    assert done.returncode == -signal.SIGSEGV


def test_memory_starts_as_garbage(tmp_path: Path) -> None:
    code = "import torch, elite_ops; print(torch.empty(3, dtype=torch.uint8).tolist())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{[0xC5] * 3}\n"
