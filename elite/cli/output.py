"""Results: tables for people, JSON for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from elite.config import to_mapping

if TYPE_CHECKING:
    from elite.metrics import Scores

__all__ = ["console", "print_json", "scores_table"]

console = Console(highlight=False, soft_wrap=True)


def print_json(result: Any) -> None:
    """Writes a result dataclass, and nothing else, to the output."""
    print(json.dumps(to_mapping(result), indent=2))


def scores_table(scores: Scores, note: str = "") -> Table:
    """One row per class, then the means."""
    table = Table(title=f"Intersection over union, {note}" if note else "Intersection over union")
    table.add_column("class")
    for name in ("IoU", "precision", "recall", "points"):
        table.add_column(name, justify="right")
    for c in scores.classes:
        figures = [_percent(value) for value in (c.iou, c.precision, c.recall)]
        style = "dim" if c.iou is None else None
        table.add_row(c.name, *figures, f"{c.points:,}", style=style)
    table.add_section()
    table.add_row("mIoU over classes present", _percent(scores.miou_present), style="bold")
    table.add_row(f"mIoU over all {len(scores.classes)} classes", _percent(scores.miou))
    table.add_row("accuracy", _percent(scores.accuracy), "", "", f"{scores.num_points:,}")
    return table


def _percent(value: float | None) -> str:
    return "absent" if value is None else f"{100 * value:.1f} %"
