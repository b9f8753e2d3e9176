"""The C library's allocator, told to keep what is freed."""

from __future__ import annotations

import ctypes
import platform

__all__ = ["keep_freed_memory"]

# Parameters of glibc's mallopt(3).
M_TRIM_THRESHOLD = -1
M_TOP_PAD = -2
M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Makes large tensors on the CPU reuse memory instead of taking fresh pages from the kernel.

    By default glibc maps every large block anew and returns it when it is freed; a training step
    then takes hundreds of thousands of page faults. This is the process's choice, so a command
    makes it, and the library never does. Elsewhere than on glibc it does nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)
    mallopt(M_TOP_PAD, 64 << 20)
