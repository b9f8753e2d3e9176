"""One JSON file of `record.py`, read back as what its tables and plots ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

__all__ = ["HOUSE", "Result", "Results", "read_results"]

# This library, used in several ways, and its definition; all others are peers.
HOUSE = (
    "elite_ops_ordered",
    "elite_ops",
    "elite_ops_captured",
    "elite_ops_compat",
    "elite_ops_literal",
    "elite_ops, segments made before",
    "compat.torch_scatter",
    "separate_calls",
    "reference",
)

# What benchmarks call what they compare.
CONTESTANT = ("contestant", "implementation", "library", "variant")


@dataclass(frozen=True)
class Result:
    """One contestant at one case of one group."""

    group: str
    contestant: str
    case: tuple[tuple[str, Any], ...]  # without the contestant
    seconds: float  # of the device alone on a GPU, else of the call
    wall: float
    shortest: float
    rounds: int
    info: dict[str, Any]

    def __getitem__(self, parameter: str) -> Any:
        return dict(self.case).get(parameter)


@dataclass(frozen=True)
class Results:
    name: str
    date: str
    commit: str
    machine: dict[str, Any]
    load: list[float]
    options: list[str]
    missing: list[dict[str, Any]]
    complete: bool
    all: tuple[Result, ...]

    def group(self, name: str) -> dict[tuple[tuple[str, Any], ...], dict[str, Result]]:
        """The results of a group by case and contestant."""
        cases: dict[tuple[tuple[str, Any], ...], dict[str, Result]] = {}
        for result in self.all:
            if result.group == name:
                cases.setdefault(result.case, {})[result.contestant] = result
        return cases

    @cached_property
    def bandwidth(self) -> dict[str, float]:
        """Measured copy bandwidth of each device, bytes read and written a second."""
        return {r["device"]: r.info["bytes_moved"] / r.seconds for r in self._limits("copy")}

    @cached_property
    def matrix_rate(self) -> dict[tuple[str, str], float]:
        """Measured FLOP/s of a large matrix product, by device and precision."""
        products = self._limits("matrix product")
        return {(r["device"], r["precision"]): r.info["flop"] / r.seconds for r in products}

    @cached_property
    def multiply_add_rate(self) -> float | None:
        """Measured FLOP/s of the CPU's cores at their peak, in float32: the shortest round's."""
        rates = [r.info["flop"] / r.shortest for r in self._limits("multiply-add")]
        return max(rates, default=None)

    def _limits(self, name: str) -> Iterator[Result]:
        return (result for result in self.all if result.group == f"limits: {name}")

    def roofline(self, result: Result) -> float | None:
        """Which part of its time the device would need at least, from 0 to 1."""
        bandwidth = self.bandwidth.get(result["device"])
        rate = self.matrix_rate.get((result["device"], result["precision"]), float("inf"))
        if not bandwidth or (result.info.get("flop") and rate == float("inf")):
            return None
        bytes_moved, flop = result.info.get("bytes_moved", 0), result.info.get("flop", 0)
        return max(bytes_moved / bandwidth, flop / rate) / result.seconds or None


def read_results(path: Path) -> Results:
    raw = json.loads(path.read_text())
    return Results(
        name=raw["name"],
        date=raw["date"],
        commit=raw["commit"],
        machine=raw["machine"],
        load=raw["load"],
        options=raw["options"],
        missing=raw["missing"],
        complete=raw["complete"],
        all=tuple(_result(entry) for entry in raw["results"]),
    )


def _result(entry: dict[str, Any]) -> Result:
    case = dict(entry["case"])
    named = [case.pop(name) for name in CONTESTANT if name in case]
    wall = entry["seconds"]["median"]
    return Result(
        group=entry["group"],
        contestant=named[0] if named else "elite_ops",
        case=tuple(case.items()),
        seconds=entry["info"].get("device_seconds", wall),
        wall=wall,
        shortest=entry["seconds"]["min"],
        rounds=entry["seconds"]["rounds"],
        info=entry["info"],
    )
