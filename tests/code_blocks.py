"""The Python of a page, as a reader would run it."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^( *)```python *(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)


def python_blocks(page: str) -> list[str]:
    """The code of each block, at its own line numbers; those marked `no-run` are left out."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = []
    for fence in FENCE.finditer(text):
        if fence[2] != "no-run":
            line = text.count("\n", 0, fence.start(3))
            blocks.append("\n" * line + textwrap.dedent(fence[3]))
    return blocks


def run_page(page: str) -> dict[str, Any]:
    """What the page's blocks define, run one after the other; at least one is expected."""
    blocks = python_blocks(page)
    assert blocks, page
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        exec(compile(block, ROOT / page, "exec"), names)
    return names
