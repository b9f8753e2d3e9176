"""What `peak_mb` says of steps whose memory is known, in a process that does nothing else, as JSON.

    python memory_known.py

Numbers are MiB. Pages are written one by one: only those count.
"""

import json
import mmap

import torch
from step_cost import peak_mb, process_mb

BLOCK = 64 << 10  # bytes: malloc takes it from its heap, and does not ask the system for it alone
CPU = torch.device("cpu")


def pages(mib: int) -> None:
    with mmap.mmap(-1, mib << 20) as memory:
        for start in range(0, len(memory), mmap.PAGESIZE):
            memory[start] = 1


def blocks(mib: int) -> list[bytearray]:
    return [bytearray(b"x") * BLOCK for _ in range((mib << 20) // BLOCK)]


def main() -> None:
    found = {"nothing": peak_mb(lambda: None, CPU)}
    found["pages"] = peak_mb(lambda: pages(64), CPU)
    found["process"] = process_mb()
    pages(256)
    found["pages after a higher peak"] = peak_mb(lambda: pages(64), CPU)
    freed, last = blocks(64), bytearray(BLOCK)  # which keeps the heap from shrinking
    del freed
    found["blocks where others were freed"] = peak_mb(lambda: blocks(64), CPU)
    del last
    print(json.dumps(found))


if __name__ == "__main__":
    main()
