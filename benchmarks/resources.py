"""What each CUDA kernel takes of a multiprocessor, from nvcc's own report.

`make nvcc` leaves ptxas's words in build/nvcc/*.log. `--write` makes docs/resources.md of them,
`--check` fails where a kernel spills registers to memory.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LOGS = Path("build/nvcc")
REPORT = Path("docs/resources.md")
ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(\w+)'")
SPILLS = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SHARED = re.compile(r"(\d+) bytes smem")
NAMESPACES = re.compile(r"elite_ops::|cuda::|\(anonymous namespace\)::|_GLOBAL__N_\w+::")

HEADER = """# What the kernels take

Made by `make resources` from the report of {compiler}; nothing here was measured on a GPU.
Registers are per thread, and shared memory is the static part, in bytes per block. Dynamic shared
memory comes on top: the size of `Shared` in `sparse_conv_mma.cu` and `sparse_conv_weight_mma.cu`,
the points at hand in `encode_voxels_backward.cu`, the counts in `confusion_matrix.cu` and
`majority_vote.cu`. Kernels that spill registers to memory: {spilling}; `make nvcc` fails where
there are any.

"""


@dataclass(frozen=True)
class Usage:
    """One kernel on one architecture."""

    source: str
    kernel: str  # mangled
    architecture: str
    registers: int
    shared_bytes: int
    spilled_bytes: int


def parse(source: str, log: str) -> list[Usage]:
    """The kernels of one source, in the order of nvcc's log."""
    usages = []
    name = architecture = ""
    spilled = 0
    for line in log.splitlines():
        if entry := ENTRY.search(line):
            name, architecture = entry.groups()
            spilled = 0
        elif spills := SPILLS.search(line):
            spilled = sum(map(int, spills.groups()))
        elif used := USED.search(line):
            shared = SHARED.search(line)
            shared_bytes = int(shared[1]) if shared else 0
            usage = Usage(source, name, architecture, int(used[1]), shared_bytes, spilled)
            usages.append(usage)
    return usages


def demangle(names: Iterable[str]) -> dict[str, str]:
    """Readable names without namespaces and arguments; those of other projects are left out."""
    mangled = sorted(set(names))
    command = ["c++filt", *mangled]
    full = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    readable = {}
    for name, text in zip(mangled, full, strict=True):
        text = text.removeprefix("void ")
        if text.startswith("elite_ops::"):
            readable[name] = shorten(text)
    return readable


def shorten(text: str) -> str:
    """`a::kernel<a::T<int, 4> >(args)` becomes `kernel<T<int, 4>>`."""
    text = NAMESPACES.sub("", text).replace("> >", ">>").replace("> >", ">>")
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            return text[:place]
    return text


def report(usages: list[Usage], names: dict[str, str], compiler: str) -> str:
    """One line per kernel."""
    ours = [u for u in usages if u.kernel in names]
    architectures = sorted({u.architecture for u in ours})
    rows: dict[tuple[str, str], dict[str, Usage]] = {}
    for usage in ours:
        rows.setdefault((usage.source, names[usage.kernel]), {})[usage.architecture] = usage
    spilling = len({u.kernel for u in ours if u.spilled_bytes}) or "none"
    text = HEADER.format(compiler=compiler, spilling=spilling)
    titles = " | ".join(f"registers, {a}" for a in architectures)
    text += (
        f"| source | kernel | {titles} | shared |\n|---|---|{'---|' * (len(architectures) + 1)}\n"
    )
    for (source, kernel), by_architecture in sorted(rows.items()):
        found = [by_architecture.get(architecture) for architecture in architectures]
        registers = " | ".join(str(u.registers) if u else "" for u in found)
        shared = max(u.shared_bytes for u in by_architecture.values())
        text += f"| {source} | `{kernel}` | {registers} | {shared} |\n"
    return text


def compiler_version(nvcc: str) -> str:
    text = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"release ([\d.]+)", text)
    return f"nvcc {found[1]}" if found else "nvcc"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--nvcc", default="nvcc")
    options = parser.parse_args(arguments)
    usages = [u for log in sorted(LOGS.glob("*.log")) for u in parse(log.stem, log.read_text())]
    names = demangle(u.kernel for u in usages)
    if options.write:
        text = report(usages, names, compiler_version(options.nvcc))
        REPORT.write_text(text, encoding="utf-8")
    spilling = [u for u in usages if u.kernel in names and u.spilled_bytes]
    for u in spilling:
        print(f"{u.source}: {names[u.kernel]} spills {u.spilled_bytes} bytes on {u.architecture}")
    return 1 if options.check and spilling else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
