"""`docs/migration.md`: its examples run as they are printed, and the names in its tables exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import elite_ops
import elite_ops.compat.spconv.pytorch
import elite_ops.compat.spconv.utils
from elite_ops import nn as spnn
from elite_ops.compat import spconv, torch_scatter, torchsparse

TESTS = Path(__file__).parents[1]

EXAMPLES = """
import torch
from code_blocks import run_page
names = run_page("docs/migration.md")
features = names["features"]
assert features.shape == (3, 16) and features.any()
torch.testing.assert_close(names["same_features"], features)
torch.testing.assert_close(names["turned_features"], features)
assert names["means"].shape == (3, 8) and not names["means"][1].any()
torch.testing.assert_close(names["same_means"], names["means"])
"""


def test_the_examples() -> None:
    """In a process of their own, since they install the faces."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(TESTS)!r})\n{EXAMPLES}"],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def rows(section: str) -> list[list[str]]:
    """The cells of the tables below a heading."""
    text = (TESTS.parent / "docs/migration.md").read_text(encoding="utf-8")
    part = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| `")]
    return [re.split(r" *(?<!\\)\| *", line.strip("| ")) for line in lines]


THEIRS = {
    "spconv": (
        r"\b[A-Z]\w*[a-z]\w*",
        (spconv.pytorch, spconv.pytorch.utils, spconv.utils, spconv.pytorch.tables),
    ),
    "torchsparse": (r"\b(?:[A-Z]\w*[a-z]\w*|sp(?!atial)\w+)", (torchsparse, torchsparse.nn)),
    "torch_scatter": (r"\b(?:scatter|segment|gather)\w*", (torch_scatter,)),
}
OURS = r"\b(?:[A-Z]\w*[a-z]\w*|segment_\w+|gather_\w+|\w*voxelize|sparse_conv|output_voxels)\b"


@pytest.mark.parametrize("section", THEIRS)
def test_the_names_in_the_tables(section: str) -> None:
    pattern, modules = THEIRS[section]
    theirs, ours = set(), set()
    for first, second, *_ in rows(section):
        theirs |= set(re.findall(pattern, " ".join(re.findall("`(.*?)`", first))))
        ours |= set(re.findall(OURS, " ".join(re.findall("`(.*?)`", second))))
    assert len(theirs) > 5
    assert len(ours) > 5
    functional: Any = getattr(modules[-1], "functional", modules[0])
    assert missing(theirs, *modules, functional) <= {"None", "True", "sparse_quantize"}
    assert missing(ours, elite_ops, spnn, torch.nn) <= {"False", "KernelMap"}


def missing(names: set[str], *modules: Any) -> set[str]:
    return {name for name in names if not any(hasattr(module, name) for module in modules)}
