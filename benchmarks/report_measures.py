"""How far a file of results goes towards a goal, in words.

Every ratio is one of two times, or two sizes, of the same file. Where a goal speaks of several
cases, the worst is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from report_tables import duration, rivals
from results_file import Result, Results

__all__ = [
    "Measure",
    "agreement",
    "faster",
    "memory",
    "part_of_peak",
    "second_thread",
    "time_of",
]

THREADS = "one thread and two"
Measure = Callable[[Results], str | None]


def rows_of(
    results: Results, groups: tuple[str, ...], wanted: dict[str, Any]
) -> list[dict[str, list[Result]]]:
    """By case, the results of each contestant that has one in every group."""
    first, *others = (results.group(group) for group in groups)
    rows = []
    for case, row in first.items():
        parameters = dict(case)
        if not all(_fits(parameters.get(name), value) for name, value in wanted.items()):
            continue
        found = [row, *(group.get(case, {}) for group in others)]
        names = [name for name in row if all(name in part for part in found)]
        rows.append({name: [part[name] for part in found] for name in names})
    return rows


def _fits(value: Any, wanted: Any) -> bool:
    return value in wanted if isinstance(wanted, tuple) else value == wanted


def faster(
    *groups: str, than: tuple[str, ...] = (), ours: str = "elite_ops", **wanted: Any
) -> Measure:
    """How many times as long the fastest of the others takes for all groups together."""

    def measure(results: Results) -> str | None:
        worst: tuple[float, Result] | None = None
        for row in rows_of(results, groups, wanted):
            others = [row[name] for name in _others(groups[0], row, than)]
            if ours not in row or not others:
                continue
            ratio = min(_seconds(other) for other in others) / _seconds(row[ours])
            if worst is None or ratio < worst[0]:
                worst = ratio, row[ours][0]
        if worst is None:
            return None
        ratio, result = worst
        roofline = results.roofline(result) if len(groups) == 1 else None
        on_gpu = result["device"] == "cuda" and roofline is not None
        return f"{ratio:.2f} x" + (f", {roofline:.0%} of the roofline" if on_gpu else "")

    return measure


def _others(group: str, row: dict[str, list[Result]], than: tuple[str, ...]) -> list[str]:
    if than:
        return [name for name in than if name in row]
    peers = rivals(group, {name: results[0] for name, results in row.items()})
    return [result.contestant for result in peers]


def _seconds(results: Sequence[Result]) -> float:
    return sum(result.seconds for result in results)


def memory(group: str, than: tuple[str, ...], **wanted: Any) -> Measure:
    """Our peak as a part of the smallest of theirs; of whole processes in brackets."""

    def measure(results: Results) -> str | None:
        parts: list[tuple[float, float | None]] = []
        for row in rows_of(results, (group,), wanted):
            others = [row[name][0].info for name in than if name in row]
            if "elite_ops" in row:
                ours = row["elite_ops"][0].info
                part = _part(ours, others, "peak_mb")
                parts += [] if part is None else [(part, _part(ours, others, "process_mb"))]
        if not parts:
            return None
        part, whole = max(parts)
        return f"{part:.0%}" + ("" if whole is None else f" (whole process {whole:.0%})")

    return measure


def _part(ours: dict[str, Any], others: Sequence[dict[str, Any]], name: str) -> float | None:
    """At most this part: 0 is less than can be resolved, and counts as 1 MiB of ours."""
    sizes = [other[name] for other in others if name in other]
    if name not in ours or not sizes or not min(sizes):
        return None
    return (ours[name] or 1) / min(sizes)


def part_of_peak(group: str, **wanted: Any) -> Measure:
    """Multiply-adds of true pairs a second, as a part of the most that the cores can do."""

    def measure(results: Results) -> str | None:
        rates = [
            row["elite_ops"][0].info["flop"] / row["elite_ops"][0].seconds
            for row in rows_of(results, (group,), wanted)
            if "elite_ops" in row
        ]
        peak = results.multiply_add_rate
        return f"{min(rates) / peak:.0%}" if rates and peak else None

    return measure


def second_thread(results: Results) -> str | None:
    """How many times as long one thread takes as two, for each piece of work."""
    seconds: dict[str, dict[int, float]] = {}
    for result in results.all:
        if result.group == THREADS:
            seconds.setdefault(result["work"], {})[result["num_threads"]] = result.seconds
    gains = {name: by[1] / by[2] for name, by in seconds.items() if by.keys() >= {1, 2}}
    if not gains:
        return None
    return ", ".join(f"{gain:.2f} x ({name})" for name, gain in sorted(gains.items()))


def time_of(group: str, statistic: str, contestant: str, **wanted: Any) -> Measure:
    """The longest median, or p99, of a contestant."""

    def measure(results: Results) -> str | None:
        rows = rows_of(results, (group,), wanted)
        found = [row[contestant][0] for row in rows if contestant in row]
        times = [r.wall if statistic == "median" else r.info[statistic] for r in found]
        return duration(max(times)) if times else None

    return measure


def agreement(group: str, contestant: str, **wanted: Any) -> Measure:
    """The smallest part of the points that have the label of float32."""

    def measure(results: Results) -> str | None:
        rows = rows_of(results, (group,), wanted)
        parts = [row[contestant][0].info["agreement"] for row in rows if contestant in row]
        return f"{min(parts):.3%}" if parts else None

    return measure
