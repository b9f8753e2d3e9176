"""What was set out to be reached, on a CPU and on a GPU, and what was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from report_measures import (
    Measure,
    agreement,
    faster,
    memory,
    part_of_peak,
    second_thread,
    time_of,
)
from report_tables import CONVOLUTIONS, table
from results_file import Results

__all__ = ["targets"]

FORWARD, BACKWARD = CONVOLUTIONS[:2]
LABELS = "a scan, from its file to labels"
ON_DEVICE = "a scan, from points on the device to labels"
STEP = "a training step of the student"
ROWS, KEYS = ("spconv_rows", "torch_rows"), ("spconv_keys", "torch_keys")
CAPTURED = "elite_ops_captured"
LOSS = "distillation_loss forward and backward"
PATCHES = "patch_to_point forward and backward"


@dataclass(frozen=True)
class Goal:
    """`measure` says what a file of results has reached, or None if it does not tell."""

    what: str
    target: str
    measure: Measure


def targets(files: Sequence[Results]) -> str:
    """Both tables, with a column for each file that has results of the device."""
    parts = []
    for heading, goals, device in (("On a CPU", on_cpu(), "cpu"), ("On a GPU", on_gpu(), "cuda")):
        parts += [f"**{heading}**", _table(goals, files, device)]
    return "\n\n".join(parts)


def _table(goals: Sequence[Goal], files: Sequence[Results], device: str) -> str:
    measured = [results for results in files if any(r["device"] == device for r in results.all)]
    header = ["what", "target", *(results.name for results in measured)]
    rows = [
        [goal.what, goal.target, *(goal.measure(results) or "" for results in measured)]
        for goal in goals
    ]
    if not measured:
        header, rows = [*header, "measured"], [[*row, "not run yet"] for row in rows]
    return table(header, rows)


def on_cpu() -> list[Goal]:
    cpu: dict[str, Any] = {"device": "cpu"}
    spconv: dict[str, Any] = cpu | {"than": ("spconv",)}
    others: dict[str, Any] = spconv | {"channels": (16, 32, 128, 256)}
    voxels: dict[str, Any] = cpu | {"scales": 5}
    return [
        Goal(
            "scan to labels, against the authors' formulation on spconv",
            "10 x",
            faster(LABELS, than=ROWS[:1], **cpu),
        ),
        Goal(
            "the same, against theirs with packed keys",
            "5 x",
            faster(LABELS, than=KEYS[:1], **cpu),
        ),
        Goal(
            "scan to labels, against theirs on torch and our kernel map",
            "none",
            faster(LABELS, than=ROWS[1:], **cpu),
        ),
        Goal("the same, with packed keys", "none", faster(LABELS, than=KEYS[1:], **cpu)),
        Goal("the same, peak memory", "at most 50%", memory(LABELS, ROWS + KEYS, **cpu)),
        Goal(
            "convolution 64 to 64, forward, against spconv",
            "2.8 x",
            faster(FORWARD, channels=64, **spconv),
        ),
        Goal(
            "the same, of the cores' multiply-adds",
            "75%",
            part_of_peak(FORWARD, channels=64, **cpu),
        ),
        Goal(
            "the same, forward and backward, against spconv",
            "2.8 x",
            faster(FORWARD, BACKWARD, channels=64, **spconv),
        ),
        Goal(
            "16, 32, 128, 256 channels, forward, against spconv", "2 x", faster(FORWARD, **others)
        ),
        Goal("the same, forward and backward", "2 x", faster(FORWARD, BACKWARD, **others)),
        Goal("kernel map, against spconv", "10 x", faster("kernel map", **spconv)),
        Goal(
            "five scales of voxels, against torch.unique of rows",
            "60 x",
            faster("voxelization", than=("unique_rows",), **voxels),
        ),
        Goal(
            "the same, of packed keys",
            "3 x",
            faster("voxelization", than=("unique_keys",), **voxels),
        ),
        Goal(
            "training step, against the authors' formulation",
            "4 x",
            faster(STEP, than=ROWS, **cpu),
        ),
        Goal("the same, peak memory", "at most 50%", memory(STEP, ROWS, **cpu)),
        Goal("two threads, against one", "1.8 x", second_thread),
    ]


def on_gpu() -> list[Goal]:
    gpu: dict[str, Any] = {"device": "cuda"}
    half: dict[str, Any] = gpu | {"precision": "fp16"}
    bf16: dict[str, Any] = gpu | {"precision": "bf16"}
    eager: dict[str, Any] = gpu | {"than": ("reference",)}
    return [
        Goal(
            "convolution 64 to 64, fp16, forward, against the fastest peer",
            "1.5 x",
            faster(FORWARD, channels=64, **half),
        ),
        Goal("the same, backward", "1.5 x", faster(BACKWARD, channels=64, **half)),
        Goal(
            "16 to 256 channels, fp16, forward, against the fastest peer",
            "1 x",
            faster(FORWARD, **half),
        ),
        Goal("the same, backward", "1 x", faster(BACKWARD, **half)),
        Goal("kernel map of a scale, against the fastest peer", "4 x", faster("kernel map", **gpu)),
        Goal(
            "five scales of voxels, against torch.unique",
            "20 x",
            faster("voxelization", scales=5, **gpu),
        ),
        Goal(
            "scan in GPU memory to labels, fp16, one graph",
            "at most 1.0 ms",
            time_of(ON_DEVICE, "median", CAPTURED, **half),
        ),
        Goal("the same, p99", "at most 1.2 ms", time_of(ON_DEVICE, "p99", CAPTURED, **half)),
        Goal(
            "the same, against the authors' formulation",
            "15 x",
            faster(ON_DEVICE, than=ROWS, ours=CAPTURED, **half),
        ),
        Goal("labels of float32 in fp16", "99.8%", agreement(ON_DEVICE, CAPTURED, **half)),
        Goal("labels of float32 in bf16", "99.8%", agreement(ON_DEVICE, CAPTURED, **bf16)),
        Goal("distillation loss, against eager torch", "5 x", faster(LOSS, **eager)),
        Goal("the same, memory", "at most 25%", memory(LOSS, **eager)),
        Goal("patch to point, against eager torch", "5 x", faster(PATCHES, **eager)),
        Goal("the same, memory", "at most 25%", memory(PATCHES, **eager)),
        Goal(
            "Lovász-softmax, against the loop over classes",
            "8 x",
            faster("lovasz_softmax forward and backward", **eager),
        ),
        Goal(
            "training step, batch of 4, bf16, against the authors' formulation",
            "3 x",
            faster(STEP, than=ROWS, **bf16),
        ),
        Goal("the same, peak memory", "at most 50%", memory(STEP, ROWS, **bf16)),
    ]
