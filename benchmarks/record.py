"""Runs benchmarks and keeps what matters of their results in one JSON file.

    python benchmarks/record.py --name NAME [--seconds N] [FILES AND OPTIONS OF PYTEST]

writes benchmarks/results/NAME.json, again after each benchmark: the device, versions, commit and
load of the machine, one entry per result, and what was missing, with the reason. `report.py` makes
docs/performance.md of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
RESULTS = HERE / "results"
OPS = ("limits", "sparse_conv", "kernel_map", "voxelize", "distillation_loss", "patch_to_point")
SYSTEM = ("lovasz_softmax", "end_to_end", "student_step", "threads")
DEFAULT = [f"bench_{name}.py" for name in (*OPS, *SYSTEM)]
STATISTICS = ("median", "min", "iqr", "rounds")
GENERAL = ("threads", "torch", "compiler", "device")  # said once, in the heading


class Skipped:
    """Collects why benchmarks did not run, by the name of the test."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            self.reasons[report.nodeid] = report.longrepr[2].removeprefix("Skipped: ")


class Budget:
    """Ends the run after the benchmark in which the time is up; what was measured is kept."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.is_spent = False

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.session = session

    def pytest_runtest_logfinish(self) -> None:
        if time.monotonic() > self.end:
            self.is_spent = True
            self.session.shouldstop = "the time is up"


class Measured:
    """Collects what pytest-benchmark knows of each benchmark, and hands it on as each one ends."""

    def __init__(self, keep: Callable[[list[dict[str, Any]]], None]) -> None:
        self.keep = keep
        self.benchmarks: list[dict[str, Any]] = []

    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        fixture = getattr(item, "funcargs", {}).get("benchmark")
        if call.when == "call" and call.excinfo is None and fixture and fixture.stats:
            known = fixture.stats.as_dict(include_data=False)
            text = json.dumps(known, default=lambda value: f"UNSERIALIZABLE[{value!r}]")
            self.benchmarks.append(json.loads(text))
            self.keep(self.benchmarks)


def run(arguments: list[str], *plugins: object) -> int:
    """Pytest's exit status."""
    options = ["--benchmark-only", "--benchmark-columns=median"]
    return int(pytest.main([*options, *arguments], plugins=plugins))


def case_of(parameters: dict[str, Any] | None) -> dict[str, Any]:
    """The parameters of a test that say something in JSON; a dtype is known by its name."""
    case = {}
    for name, value in (parameters or {}).items():
        if isinstance(value, str):
            case[name] = value.removeprefix("UNSERIALIZABLE[").removesuffix("]")
        elif isinstance(value, (int, float)):
            case[name] = value
    return case


def entry(benchmark: dict[str, Any]) -> dict[str, Any]:
    """One result: its group and case, four statistics of its seconds, and what it is about."""
    info = {k: v for k, v in benchmark["extra_info"].items() if k not in GENERAL}
    return {
        "group": benchmark["group"] or benchmark["name"],
        "case": case_of(benchmark["params"]),
        "seconds": {name: benchmark["stats"][name] for name in STATISTICS},
        "info": info,
    }


def missing_entries(reasons: dict[str, str]) -> list[dict[str, Any]]:
    """Each reason once, with how many benchmarks it kept from running."""
    counts: dict[str, int] = {}
    for reason in reasons.values():
        if not reason.startswith("not needed"):
            counts[reason] = counts.get(reason, 0) + 1
    return [{"reason": reason, "benchmarks": count} for reason, count in counts.items()]


def commit() -> str:
    """The commit that is checked out, marked if files other than results differ from it.

    $ELITE_COMMIT names it where the files were brought without their history.
    """
    if given := os.environ.get("ELITE_COMMIT"):
        return given
    found = _git("rev-parse", "--short", "HEAD")
    if found.returncode != 0:
        return "unknown"
    unchanged = _git("diff", "--quiet", "HEAD", "--", ":/", f":(exclude){RESULTS.name}")
    return found.stdout.strip() + ("" if unchanged.returncode == 0 else "-dirty")


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", *arguments]
    try:
        return subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # a machine without git
        return subprocess.CompletedProcess(command, 127, "", "")


def arguments_without_paths(arguments: list[str]) -> list[str]:
    """Pytest's options, with files by their names: where the tree lies is of no interest."""
    return [Path(a).name if a.endswith(".py") else a for a in arguments]


def processor() -> str:
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"model name\s*:\s*(.*)", text)
    return found.group(1) if found else platform.processor()


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    about: dict[str, Any] = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        about |= {
            "gpu": properties.name,
            "multiprocessors": properties.multi_processor_count,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    return about


def record(name: str, arguments: list[str], folder: Path, seconds: float) -> int:
    """Runs the benchmarks and returns pytest's exit status.

    `folder/name.json` is written after each of them: where the run is cut, the rest is kept.
    """
    budget, skipped = Budget(seconds), Skipped()
    heading = {
        "name": name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "machine": machine(),
        "options": arguments_without_paths(arguments),
    }
    load = round(os.getloadavg()[0], 1)
    path = folder / f"{name}.json"

    def keep(benchmarks: list[dict[str, Any]], complete: bool = False) -> None:
        compiler = {"compiler": benchmarks[0]["extra_info"]["compiler"]}
        result = heading | {
            "machine": heading["machine"] | compiler,
            "load": [load, round(os.getloadavg()[0], 1)],
            "complete": complete,
            "results": [entry(benchmark) for benchmark in benchmarks],
            "missing": missing_entries(skipped.reasons),
        }
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(result, indent=1) + "\n")
        temporary.replace(path)

    measured = Measured(keep)
    status = run(arguments, measured, skipped, budget)
    if not measured.benchmarks:
        return status or 1
    keep(measured.benchmarks, complete=status == 0)
    print(f"{len(measured.benchmarks)} results in {path}")
    if budget.is_spent:
        print("the time was up before all benchmarks had run")
        return 0
    return status


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--name", required=True, help="of the file in benchmarks/results")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of results")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    options, rest = parser.parse_known_args(arguments)
    if not any(argument.split("::")[0].endswith(".py") for argument in rest):
        rest = [str(HERE / name) for name in DEFAULT] + rest
    return record(options.name, rest, options.results, options.seconds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
