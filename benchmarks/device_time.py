"""How long a GPU works on a call, apart from how long the host takes to ask for it."""

from __future__ import annotations

from collections.abc import Callable

import torch

__all__ = ["device_seconds"]

CALLS = 20  # between two events, so that the events' own cost vanishes
HEAD_START = 20_000_000  # clock cycles, about 10 ms: the host queues all calls meanwhile


def device_seconds(call: Callable[[], object], rounds: int = 10) -> list[float]:
    """Seconds of one call in each round, measured by events on the current stream.

    The calls are queued behind a kernel that only waits, so that the device never waits for the
    host between them. A call that waits for the device itself (a copy to the host, say) loses the
    head start, and is rightly charged for the host's part.
    """
    seconds = []
    for _ in range(rounds):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda._sleep(HEAD_START)
        begin.record()
        for _ in range(CALLS):
            call()
        end.record()
        torch.cuda.synchronize()
        seconds.append(begin.elapsed_time(end) / 1e3 / CALLS)
    return seconds
