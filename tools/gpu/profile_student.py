"""Times the captured student on a scan and says which kernels the time goes into.

    python tools/gpu/profile_student.py --json FILE [--precision fp16] [--rounds 200]

The weights are random, the scan is real where there is one. Labels are compared with those of the
eager network in float32 first. The file is written before the profile, and again after it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from device_time import device_seconds
from kernel_profile import by_kernel, distribution, latencies, profiled, whole
from precision import PRECISIONS
from record import commit, machine
from student_forms import random_student
from torch import Tensor
from workloads import scan

from elite.student.captured import CapturedStudent
from elite.student.head import most_likely

SHOWN = 25  # kernels in the table; the file has all of them


def write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    temporary.replace(path)


@torch.no_grad()
def capture(points: Tensor, dtype: torch.dtype) -> tuple[CapturedStudent, dict[str, Any]]:
    """The student with room for this scan, and what is known of it."""
    fused = random_student(points.device).fused()
    pyramid = fused.pyramid(points, None, 1)
    exact = most_likely(fused.logits(points, pyramid))
    captured = fused.capture(len(points), dtype=dtype)
    labels = captured(points)
    captured.check()
    inside = captured.valid
    return captured, {
        "points": len(points),
        "voxels": [len(level.voxels.indices) for level in pyramid.levels],
        "labels_of_float32": float((labels == exact)[inside].double().mean()),
    }


def table(result: dict[str, Any]) -> str:
    lines = [f"{'microseconds':>12} {'share':>6} {'runs':>6}  kernel"]
    for row in result["by_kernel"][:SHOWN]:
        share = f"{100 * row['share']:.1f}%"
        name = row["name"][:80]
        lines.append(f"{row['microseconds']:12.1f} {share:>6} {row['runs']:6.1f}  {name}")
    replay, total = result["replay"], result["profile"]
    lines.append(
        f"a scan: {replay['median']} us from call to end (p10 {replay['p10']}, p90 "
        f"{replay['p90']}); in the profile {total['busy']} us of kernels in {total['wall']} us"
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try this script")
    parser.add_argument("--precision", default="fp16", choices=sorted(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--points", type=int, help="use only the first points of the scan")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("profile_student: torch finds no CUDA device; `--device cpu` tries this script")
    name, points = scan()
    points = points[: options.points].to(device)
    with PRECISIONS[options.precision].set():
        captured, about = capture(points, PRECISIONS[options.precision].dtype)

        def call() -> Tensor:
            return captured(points)

        result: dict[str, Any] = {"machine": machine(), "commit": commit(), "workload": name}
        result |= {"precision": options.precision, **about}
        result["replay"] = distribution(latencies(call, device, options.rounds))
        if device.type == "cuda":  # queued one behind the other: without the host's part
            result["device"] = distribution([1e6 * s for s in device_seconds(call)])
        write(options.json, result)
        calls = min(options.rounds, 20)
        spans = profiled(call, device, calls)
    result |= {"profile": whole(spans, calls), "by_kernel": by_kernel(spans, calls)}
    write(options.json, result)
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
