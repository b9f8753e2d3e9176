"""Where the time of repeated calls goes, kernel by kernel."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

__all__ = ["Span", "by_kernel", "distribution", "latencies", "profiled", "whole"]

Call = Callable[[], object]


@dataclass(frozen=True)
class Span:
    """One run of one kernel, in microseconds."""

    name: str
    begin: float
    end: float


def latencies(call: Call, device: torch.device, rounds: int) -> list[float]:
    """Microseconds from each call to the end of its work."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(1e6 * (time.perf_counter() - begin))
    return times


def distribution(times: Sequence[float]) -> dict[str, float]:
    deciles = statistics.quantiles(times, n=10, method="inclusive")
    return {
        "median": round(statistics.median(times), 1),
        "p10": round(deciles[0], 1),
        "p90": round(deciles[-1], 1),
        "rounds": len(times),
    }


def profiled(call: Call, device: torch.device, rounds: int) -> list[Span]:
    """The kernels of `rounds` calls; on the CPU, which has none, the operators."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]
    with profile(activities=activities) as profiler:
        for _ in range(rounds):
            call()
        if on_gpu:
            torch.cuda.synchronize(device)
    wanted = torch.autograd.DeviceType.CUDA if on_gpu else torch.autograd.DeviceType.CPU
    return [
        Span(event.name, event.time_range.start, event.time_range.end)
        for event in profiler.events() or []
        if event.device_type == wanted and event.cpu_parent is None
    ]


def by_kernel(spans: Iterable[Span], calls: int) -> list[dict[str, Any]]:
    """Runs and microseconds a call, and the share of each kernel, the costliest first."""
    times: dict[str, list[float]] = defaultdict(list)
    for span in spans:
        times[span.name].append(span.end - span.begin)
    total = sum(map(sum, times.values()))
    rows = [
        {
            "name": name,
            "runs": round(len(each) / calls, 2),
            "microseconds": round(sum(each) / calls, 2),
            "share": round(sum(each) / total, 4) if total else 0.0,
        }
        for name, each in times.items()
    ]
    return sorted(rows, key=lambda row: -row["microseconds"])


def whole(spans: Sequence[Span], calls: int) -> dict[str, float]:
    """Microseconds a call in which some kernel ran, and from the first to the last of all calls.

    Kernels that run beside each other count once. The difference of the two is gaps.
    """
    busy, end = 0.0, float("-inf")
    for span in sorted(spans, key=lambda span: span.begin):
        busy += max(span.end - max(span.begin, end), 0.0)
        end = max(end, span.end)
    wall = end - min((span.begin for span in spans), default=end)
    return {
        "busy": round(busy / calls, 1),
        "wall": round(wall / calls, 1) if spans else 0.0,
        "kernels": round(len(spans) / calls, 1),
    }
