"""The memory that a form needs, in a process of its own that does nothing else.

    python benchmarks/alone.py labels FORM [--points N] [--threads N]
    python benchmarks/alone.py step FORM [--points N] [--threads N]

Labels one scan, or takes one training step, on the CPU, and prints as JSON what was needed at the
height beyond what was there before (`peak_mb`), and the whole process then (`process_mb`); or
`memory`, which says that the system doesn't report it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["memory_alone"]

HERE = Path(__file__).parent


def memory_alone(what: str, form: str) -> dict[str, int | str]:
    """`peak_mb` and `process_mb`, or `memory`, with as many threads and points as here."""
    import torch
    from workloads import scan

    command = [sys.executable, str(HERE / "alone.py"), what, form]
    command += ["--points", str(len(scan()[1])), "--threads", str(torch.get_num_threads())]
    paths = [str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["alone.py failed"])[-1])
    memory: dict[str, int | str] = json.loads(done.stdout.splitlines()[-1])
    return memory


def labelling(form: str) -> Callable[[], object]:
    import torch
    from student_forms import build_form
    from workloads import scan

    from elite.data import write_points

    built = build_form(form, torch.device("cpu"))
    folder = tempfile.TemporaryDirectory()  # lives as long as what is returned
    path = Path(folder.name, "scan.bin")
    write_points(path, scan()[1].numpy())
    return lambda: (folder, built.label_file(path))


def stepping(form: str) -> Callable[[], object]:
    import torch
    from student_step import TrainingStep

    return TrainingStep(form, torch.device("cpu"), "fp32", batch_size=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["labels", "step"])
    parser.add_argument("form")
    parser.add_argument("--points", type=int)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()

    import torch
    from step_cost import peak_mb, process_mb
    from workloads import limit_points

    limit_points(options.points)
    if options.threads:
        torch.set_num_threads(options.threads)
    call = (labelling if options.what == "labels" else stepping)(options.form)
    needed = peak_mb(call, torch.device("cpu"))
    told = {"peak_mb": needed, "process_mb": process_mb()}
    print(json.dumps({"memory": "not told by the system"} if needed is None else told))


if __name__ == "__main__":
    main()
