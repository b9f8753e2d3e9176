"""Tries every op of the library on a device, each in a process of its own.

    python tools/gpu/smoke.py [--device cpu] [--scan none] [--under memcheck] [--json FILE]

The ops are those that torch's registry knows, the backward ones included; an op without a case in
smoke_cases.py fails. Each is compared with itself on the CPU in float64, on a thousand points and
on a scan. A table stands at the end; the exit status is 1 if an op failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from smoke_processes import Ended, run_all

__all__ = ["Outcome", "all_ops", "main", "outcome_of", "table"]

SANITIZER = "compute-sanitizer"
SANITIZER_TOOLS = ("memcheck", "racecheck", "synccheck")
# Only our kernels are watched: those of torch are not ours to mend, and cost time.
SANITIZER_OPTIONS = ("--kernel-name", "kns=elite_ops", "--error-exitcode", "1")
SHOWN = 40  # lines at the beginning and at the end of the output of an op that failed


@dataclass
class Outcome:
    """What became of an op: its error on each scene as a part of the limit, and what went wrong."""

    op: str
    errors: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    problem: str | None = None
    output: str = ""


def check_device(name: str) -> None:
    import torch

    if name != "cpu" and not torch.cuda.is_available():
        sys.exit("smoke: torch finds no CUDA device; `--device cpu` tries this script without one")


def all_ops() -> list[str]:
    """Whatever the library has registered with torch."""
    import torch

    import elite_ops  # noqa: F401  registers them

    names = [schema.name for schema in torch._C._jit_get_all_schemas()]
    return sorted({n.removeprefix("elite_ops::") for n in names if n.startswith("elite_ops::")})


# ---- one op, in a process of its own -------------------------------------------------------------


def try_op(op: str, device_name: str, scenes: Iterable[str]) -> int:
    """Prints a line of JSON for each scene as it is done."""
    import torch
    from smoke_cases import CASES
    from smoke_check import Wrong, check_op
    from smoke_scene import SCENES

    torch.set_num_threads(1)  # the others have the other cores
    # New memory is filled with NaN: an element that nothing writes isn't right by chance.
    torch.use_deterministic_algorithms(True, warn_only=True)
    for scene in scenes:
        try:
            if op not in CASES:
                raise Wrong("it has no case in tools/gpu/smoke_cases.py")
            device = torch.device(device_name)
            function = getattr(torch.ops.elite_ops, op)
            error = check_op(function, CASES[op], SCENES[scene](), device)
        except (Wrong, IndexError, RuntimeError) as wrong:
            print(json.dumps({"problem": str(wrong)}), flush=True)
            return 1
        print(json.dumps({"scene": scene, "error": error}), flush=True)
    return 0


# ---- all of them ---------------------------------------------------------------------------------


def outcome_of(ended: Ended, scenes: Sequence[str]) -> Outcome:
    """What the lines of a process say of these scenes; other lines are a tool's, or a fault's."""
    outcome = Outcome(ended.name, seconds=round(ended.seconds, 1), problem=ended.problem)
    others = []
    for line in ended.output.splitlines():
        try:
            said = json.loads(line)
            outcome.problem = said.get("problem") or outcome.problem
            if "scene" in said:
                outcome.errors[said["scene"]] = said["error"]
        except (ValueError, AttributeError):
            others.append(line)
    missing = [scene for scene in scenes if scene not in outcome.errors]
    if missing and not outcome.problem:
        outcome.problem = f"it says nothing of the scene {missing[0]}"
    if outcome.problem:  # a tool's first report, and how it ended
        shown = others if len(others) <= 2 * SHOWN else [*others[:SHOWN], "...", *others[-SHOWN:]]
        outcome.output = "\n".join(shown)
    return outcome


def table(outcomes: Sequence[Outcome], scenes: Sequence[str]) -> str:
    """A row per op; an error is a part of the limit, so that 1 is the most that is right."""
    width = max(len(o.op) for o in outcomes)
    lines = [f"{'op':{width}}" + "".join(f"{s:>8}" for s in scenes) + " seconds  problem"]
    for o in sorted(outcomes, key=lambda o: (o.problem is not None, o.op)):
        errors = "".join(f"{o.errors[s]:8.2f}" if s in o.errors else f"{'-':>8}" for s in scenes)
        problem = (o.problem or "").partition("\n")[0]  # CUDA's errors go on with advice
        lines.append(f"{o.op:{width}}{errors} {o.seconds:7.1f}  {problem}".rstrip())
    return "\n".join(lines)


def write(path: Path | None, outcomes: Sequence[Outcome], complete: bool) -> None:
    """All that is known so far, under a temporary name first: a reader never sees half of it."""
    if path is not None:
        temporary = path.with_suffix(".tmp")
        content = {"complete": complete, "ops": [asdict(o) for o in outcomes]}
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        temporary.replace(path)


def sanitizer() -> str:
    found = shutil.which(SANITIZER) or shutil.which(SANITIZER, path="/usr/local/cuda/bin")
    return found or sys.exit(f"smoke: no {SANITIZER} is on the PATH or in /usr/local/cuda/bin")


def run(ops: Sequence[str], options: argparse.Namespace) -> list[Outcome]:
    scenes = ["small"] if options.scan == "none" else ["small", "scan"]
    own = [sys.executable, __file__, "--device", options.device, "--scan", options.scan]
    environment = {"OMP_NUM_THREADS": "1"}
    if options.under:
        own = [sanitizer(), "--tool", options.under, *SANITIZER_OPTIONS, *own]
        # Memory straight from CUDA: every allocation has bounds of its own.
        environment["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
    commands = {op: [*own, "--op", op] for op in ops}
    outcomes: list[Outcome] = []
    try:
        for ended in run_all(commands, options.jobs, options.timeout, environment):
            outcomes.append(outcome_of(ended, scenes))
            write(options.json, outcomes, complete=False)
            if outcomes[-1].problem:
                print(f"{ended.name}: {outcomes[-1].problem}\n{outcomes[-1].output}", flush=True)
    except KeyboardInterrupt:  # the time is over: what is known is told
        known = {o.op for o in outcomes}
        outcomes += [Outcome(op, problem="was interrupted") for op in ops if op not in known]
    write(options.json, outcomes, complete=True)
    print(table(outcomes, scenes))
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try this script")
    parser.add_argument("--scan", choices=["real", "none"], default="real", help="besides points")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 12))
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for one op")
    parser.add_argument("--under", choices=SANITIZER_TOOLS, help="a tool of compute-sanitizer")
    parser.add_argument("--json", type=Path, help="file of the results, written as they come")
    parser.add_argument("--op", help="try this one alone, in this process")
    parser.add_argument("--match", default="", help="a regular expression that ops have to match")
    options = parser.parse_args(arguments)
    if options.op:
        return try_op(options.op, options.device, ["small", "scan"][: 1 + (options.scan != "none")])
    check_device(options.device)
    outcomes = run([op for op in all_ops() if re.search(options.match, op)], options)
    failed = [o.op for o in outcomes if o.problem]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} ops are right")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
