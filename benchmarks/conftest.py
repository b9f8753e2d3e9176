"""The `timed` fixture: one call to completion on a device, with its figures beside the time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from device_time import device_seconds
from workloads import limit_points

from elite_ops import build_info

ROUNDS = {0.5: 10, 5.0: 3}  # of calls that take up to so many seconds; longer ones are timed once
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
    that is given by keyword is stored with the result. On a GPU the time of the device alone is
    stored too (`device_seconds`).
    """

    def run(
        fn: Callable[..., Any],
        *args: Any,
        bytes_moved: float = 0,
        flop: float = 0,
        **info: Any,
    ) -> Any:
        def once() -> Any:
            out = fn(*args)
            if device.type == "cuda":
                torch.cuda.synchronize()
            return out

        once()  # in which some choose their kernels
        begin = time.perf_counter()
        once()
        seconds = time.perf_counter() - begin
        rounds = next((n for limit, n in ROUNDS.items() if seconds <= limit), 1)
        out = benchmark.pedantic(once, rounds=rounds, iterations=1)
        name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
        benchmark.extra_info.update(info, device=name, threads=torch.get_num_threads())
        benchmark.extra_info.update(torch=str(torch.__version__), compiler=build_info()["compiler"])
        benchmark.extra_info.update(bytes_moved=bytes_moved, flop=flop)
        if benchmark.stats:
            seconds = benchmark.stats.stats.median
            if device.type == "cuda":
                seconds = statistics.median(device_seconds(lambda: fn(*args)))
                benchmark.extra_info["device_seconds"] = seconds
            if bytes_moved:
                benchmark.extra_info["GB/s"] = round(bytes_moved / seconds / 1e9, 2)
            if flop:
                benchmark.extra_info["GFLOP/s"] = round(flop / seconds / 1e9, 2)
        return out

    return run
