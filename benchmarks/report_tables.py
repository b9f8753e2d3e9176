"""Tables in Markdown of one file of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from results_file import HOUSE, Result, Results

__all__ = ["CONVOLUTIONS", "duration", "mebibytes", "rivals", "section", "table"]

CONVOLUTIONS = (
    "convolution forward, map given",
    "convolution backward, map given",
    "convolution forward, map rebuilt",
)
GROUPS = (
    *CONVOLUTIONS,
    "kernel map",
    "kernel map of shuffled voxels",
    "strided kernel map",
    "strided convolution forward, map given",
    "strided convolution forward and backward, map given",
    "sparse_depthwise_conv forward",
    "voxelization",
    "voxels and kernel maps of five scales",
    "backbones, voxels to outputs",
    "backbones, forward and backward",
    "hard voxelization",
    "segment_reduce from an index",
    "sparse_conv variants",
    "distillation_loss forward and backward",
    "patch_to_point forward and backward",
    "lovasz_softmax forward and backward",
    "one thread and two",
)
SYSTEM = (
    "a scan, from its file to labels",
    "a scan, from points on the device to labels",
    "a scan, the network alone",
    "a training step of the student",
)
BASELINES = {"voxelization": ("unique_keys", "unique_rows")}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def duration(seconds: float) -> str:
    """Three digits: 12.3 µs, 4.56 ms, 1.23 s."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{seconds / size:.3g} {unit}"
    raise AssertionError("unreachable")


def mebibytes(mib: float) -> str:
    """Whole MiB; less can't be resolved."""
    return f"{mib:.0f} MiB" if mib >= 1 else "below 1 MiB"


def rivals(group: str, row: dict[str, Result]) -> list[Result]:
    """Those to be faster than: the peers, and for voxelization torch.unique."""
    names = BASELINES.get(group) or [name for name in row if name not in HOUSE]
    return [row[name] for name in names if name in row]


def advantage(group: str, row: dict[str, Result]) -> float | None:
    """How many times as long the fastest rival takes."""
    others = rivals(group, row)
    if "elite_ops" not in row or not others:
        return None
    return min(other.seconds for other in others) / row["elite_ops"].seconds


def group_table(results: Results, group: str) -> str:
    cases = results.group(group)
    contestants = list(dict.fromkeys(name for row in cases.values() for name in row))
    parameters = list(dict.fromkeys(name for case in cases for name, _ in case))
    rows = []
    for case, row in cases.items():
        cells = [str(dict(case).get(name, "")) for name in parameters]
        cells += [_time(row.get(name)) for name in contestants]
        faster = advantage(group, row)
        roofline = results.roofline(row["elite_ops"]) if "elite_ops" in row else None
        cells.append("" if faster is None else f"{faster:.2f} x")
        cells.append("" if roofline is None else f"{roofline:.0%}")
        rows.append(cells)
    return table([*parameters, *contestants, "best rival / ours", "ours, of the roofline"], rows)


def forms_table(results: Results, group: str) -> str:
    """One row for each form of the student: its times, its memory, its labels."""
    rows = []
    for case, row in results.group(group).items():
        ours = row.get("elite_ops")
        for name, result in row.items():
            info = result.info
            times = [result.wall, info["p90"], info["p99"], result.shortest]
            cells = [", ".join(str(value) for _, value in case), name, *map(duration, times)]
            cells += [str(result.rounds), f"{result.wall / ours.wall:.2f} x" if ours else ""]
            cells += [mebibytes(info[k]) if k in info else "" for k in ("peak_mb", "process_mb")]
            cells.append(f"{info['agreement']:.3%}" if "agreement" in info else "")
            rows.append([*cells, _remarks(info)])
    header = ["case", "form", "p50", "p90", "p99", "shortest", "rounds", "against elite_ops"]
    return table([*header, "peak memory", "whole process", "labels of float32", "remarks"], rows)


def _remarks(info: dict[str, Any]) -> str:
    remarks = []
    if "convolution_threads" in info:
        remarks.append(f"convolutions on {info['convolution_threads']} thread")
    if "computes_in" in info:
        remarks.append(f"computes in {info['computes_in']}")
    if "memory" in info:
        remarks.append(f"memory {info['memory']}")
    return ", ".join(remarks)


def _time(result: Result | None) -> str:
    if result is None:
        return ""
    if result.seconds == result.wall:
        return duration(result.seconds)
    return f"{duration(result.seconds)} ({duration(result.wall)})"


def errors(results: Results) -> str:
    """The version and the largest error of each contestant, at each precision."""
    largest: dict[tuple[str, str, str], float] = {}
    for result in results.all:
        if {"rms_error", "contestant_version"} <= result.info.keys():
            version = str(result.info["contestant_version"])
            key = (result.contestant, version, str(result["precision"]))
            largest[key] = max(largest.get(key, 0.0), result.info["rms_error"])
    rows = [[*key, f"{error:.1e}"] for key, error in largest.items()]
    header = ["contestant", "version", "precision", "largest relative error"]
    return table(header, rows) if rows else ""


def machine_line(results: Results) -> str:
    machine: dict[str, Any] = results.machine
    gpu = f"{machine['gpu']}, CUDA {machine['cuda']}, " if "gpu" in machine else ""
    threads = f"{machine['threads']} of {machine['cores']} cores of {machine['processor']}"
    versions = f"torch {machine['torch']}, Python {machine['python']}"
    versions += f", compiler {machine['compiler']}"
    return f"{gpu}{threads}, {versions}; commit {results.commit}, {results.date}."


def noise_line(results: Results) -> str:
    before, after = results.load
    text = f"Load of the machine before and after: {before} and {after}."
    if max(before, after) > results.machine["cores"]:
        text += (
            " It was shared with other work: the times are noisy, single ones can be several times"
            " too long, and small differences prove nothing."
        )
    if any("process_time" in option for option in results.options):
        text += " Times are processor time: waiting for a free core does not count."
    return text


def section(results: Results) -> str:
    """Everything about one file of results."""
    parts = [f"### {results.name}", machine_line(results) + " " + noise_line(results)]
    for device, bandwidth in results.bandwidth.items():
        rates = [
            f"{precision} {rate / 1e12:.3g} TFLOP/s"
            for (where, precision), rate in results.matrix_rate.items()
            if where == device
        ]
        copied = f"copies {bandwidth / 1e9:.3g} GB/s (read and written)"
        parts.append(f"Limits measured in this run, {device}: {copied}, multiplies matrices at "
                     f"{', '.join(rates)}.")  # fmt: skip
    for group in GROUPS:
        if results.group(group):
            parts += [f"**{group[0].upper()}{group[1:]}**", group_table(results, group)]
    for group in SYSTEM:
        if results.group(group):
            parts += [f"**{group[0].upper()}{group[1:]}**", forms_table(results, group)]
    if errors(results):
        parts += ["**Errors** against float64, relative, root mean square", errors(results)]
    if not results.complete:
        parts.append("The run was stopped before its end, or benchmarks failed.")
    if results.missing:
        lines = [f"- {m['reason']} ({m['benchmarks']} benchmarks)" for m in results.missing]
        parts += ["**Not measured**", "\n".join(lines)]
    return "\n\n".join(parts)
