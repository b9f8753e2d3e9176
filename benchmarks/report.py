"""Makes the results in docs/performance.md from the JSON files in benchmarks/results.

    python benchmarks/report.py

The page is written by hand except for what stands between the two markers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from report_plot import plot
from report_tables import section
from report_targets import targets
from results_file import Results, read_results

__all__ = ["insert", "results_text"]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
BEGIN, END = "<!-- results: made by benchmarks/report.py -->", "<!-- end of results -->"


def image_name(results: Results) -> str:
    return f"performance-{results.name}.svg"


def results_text(files: Sequence[Results]) -> str:
    """What belongs between the markers."""
    parts = ["### Targets", targets(files)]
    for results in files:
        picture = f"![Times of {results.name}](images/{image_name(results)})"
        parts += [section(results), picture]
    return "\n\n".join(parts)


def insert(page: str, text: str) -> str:
    """The page with `text` between its markers.

    Raises:
        ValueError: if the page lacks a marker.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"report: the page has no line {BEGIN} ... {END}")
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}"


def main() -> int:
    files = [read_results(path) for path in sorted((ROOT / "benchmarks/results").glob("*.json"))]
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(insert(page, results_text(files)), encoding="utf-8")
    for results in files:
        plot(results, IMAGES / image_name(results))
    print(f"{PAGE}: {len(files)} files of results")
    return 0


if __name__ == "__main__":
    sys.exit(main())
