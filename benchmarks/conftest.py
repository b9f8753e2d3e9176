"""Fixtures that time one call: `timed` for an op, `latency` for what someone waits for."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from device_time import device_seconds
from step_cost import peak_mb
from workloads import limit_points

from elite.engine.bench import Times
from elite_ops import build_info

ROUNDS = {0.5: 10, 5.0: 3}  # of calls that take up to so many seconds; longer ones are timed once
SLOW = 1.0  # seconds of a call on the CPU that needs no second one to warm up
LATENCY_SECONDS = 3.0  # are filled with rounds
LATENCY_ROUNDS = (3, 200)
DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--points", type=int, help="use only the first points of every scan")


def pytest_configure(config: pytest.Config) -> None:
    limit_points(config.getoption("points", None))


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


@pytest.fixture
def timed(benchmark: Any, device: torch.device) -> Callable[..., Any]:
    """Times `fn(*args)` on `device` and returns its result.

    `bytes_moved` and `flop` of one call become GB/s and GFLOP/s beside the median; everything else
    that is given by keyword is stored with the result. On a GPU the time of the device alone
    (`device_seconds`) and the memory of a call (`peak_mb`) are stored too.
    """

    def run(
        fn: Callable[..., Any],
        *args: Any,
        bytes_moved: float = 0,
        flop: float = 0,
        **info: Any,
    ) -> Any:
        once, seconds = _warmed(lambda: fn(*args), device)
        rounds = next((n for limit, n in ROUNDS.items() if seconds <= limit), 1)
        out = benchmark.pedantic(once, rounds=rounds, iterations=1)
        benchmark.extra_info.update(info, bytes_moved=bytes_moved, flop=flop, **_about(device))
        if benchmark.stats:
            seconds = benchmark.stats.stats.median
            if device.type == "cuda":
                seconds = statistics.median(device_seconds(lambda: fn(*args)))
                benchmark.extra_info["device_seconds"] = seconds
                benchmark.extra_info["peak_mb"] = peak_mb(lambda: fn(*args), device)
            if bytes_moved:
                benchmark.extra_info["GB/s"] = round(bytes_moved / seconds / 1e9, 2)
            if flop:
                benchmark.extra_info["GFLOP/s"] = round(flop / seconds / 1e9, 2)
        return out

    return run


@pytest.fixture
def latency(benchmark: Any, device: torch.device) -> Callable[..., Any]:
    """Times `fn()` from the call to the end of its work, and returns its result.

    In as many rounds as fit into a few seconds; `p90`, `p99` and what is given by keyword are
    stored with the result.
    """

    def run(fn: Callable[[], Any], **info: Any) -> Any:
        once, seconds = _warmed(fn, device)
        least, most = LATENCY_ROUNDS
        rounds = min(max(round(LATENCY_SECONDS / seconds), least), most)
        out = benchmark.pedantic(once, rounds=rounds, iterations=1)
        benchmark.extra_info.update(info, **_about(device))
        if benchmark.stats:
            times = Times.of(benchmark.stats.stats.data)
            benchmark.extra_info.update(p90=times.p90, p99=times.p99)
        return out

    return run


def _warmed(fn: Callable[[], Any], device: torch.device) -> tuple[Callable[[], Any], float]:
    """The call with a wait for its end, and its seconds after a first one."""

    def once() -> Any:
        out = fn()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return out

    for _ in range(2):  # in the first, some choose their kernels
        begin = time.perf_counter()
        once()
        seconds = time.perf_counter() - begin
        if device.type == "cpu" and seconds > SLOW:
            break
    return once, seconds


def _about(device: torch.device) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "compiler": build_info()["compiler"],
    }
