"""Many processes at a time, each with a time-out; a fault in one leaves the others alone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

__all__ = ["Ended", "run_all"]


@dataclass(frozen=True)
class Ended:
    """A process that has ended, or was ended.

    Attributes:
        problem: how it ended, where that was not by itself and with 0.
    """

    name: str
    output: str
    seconds: float
    problem: str | None


def run_all(
    commands: Mapping[str, Sequence[str]],
    jobs: int,
    timeout: float,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Ended]:
    """Runs commands, `jobs` at a time, and gives each as it ends. An interrupt ends them all."""
    running: set[subprocess.Popen[str]] = set()
    start = partial(_run, running, timeout, {**os.environ, **(environment or {})})
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for future in as_completed([pool.submit(start, *item) for item in commands.items()]):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                _kill(process)


def _run(
    running: set[subprocess.Popen[str]],
    timeout: float,
    environment: Mapping[str, str],
    name: str,
    command: Sequence[str],
) -> Ended:
    begin = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,  # a tool that starts the process itself is ended with it
    )
    running.add(process)
    problem = None
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        output, _ = process.communicate()
        problem = f"no end after {timeout:g} s"
    running.discard(process)
    return Ended(name, output, time.monotonic() - begin, problem or _verdict(process.returncode))


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):  # it may have ended meanwhile
        os.killpg(process.pid, signal.SIGKILL)


def _verdict(status: int) -> str | None:
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"exit status {status}" if status else None
