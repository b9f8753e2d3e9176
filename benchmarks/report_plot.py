"""One picture of a file of results: the times of all contestants, group by group."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from results_file import Result, Results

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

__all__ = ["plot"]

# Group, the parameter along the axis, and what is held fixed.
PANELS: tuple[tuple[str, str, dict[str, int]], ...] = (
    ("convolution forward, map given", "channels", {"batch": 1}),
    ("convolution backward, map given", "channels", {"batch": 1}),
    ("kernel map", "scale", {"batch": 1}),
    ("voxelization", "scales", {"batch": 1}),
    ("strided kernel map", "geometry", {}),
    ("hard voxelization", "grid", {"max_points": 32}),
    ("backbones, voxels to outputs", "example", {}),
    ("backbones, forward and backward", "example", {}),
)
PREFERRED = ("fp16", "fp32")  # the first that was measured is drawn


def chosen(results: Results, group: str, fixed: dict[str, int]) -> list[Result]:
    """The results of a panel: one device, one precision."""
    found = [
        result
        for result in results.all
        if result.group == group and all(result[name] == value for name, value in fixed.items())
    ]
    device = "cuda" if any(result["device"] == "cuda" for result in found) else "cpu"
    found = [result for result in found if result["device"] == device]
    precisions = {result["precision"] for result in found}
    wanted = next((name for name in PREFERRED if name in precisions), None)
    return [result for result in found if result["precision"] in (None, wanted)]


def draw(axes: Axes, results: list[Result], group: str, along: str) -> None:
    places = sorted({result[along] for result in results})
    contestants = list(dict.fromkeys(result.contestant for result in results))
    width = 0.8 / max(len(contestants), 1)
    for number, name in enumerate(contestants):
        own = [result for result in results if result.contestant == name]
        left = [places.index(result[along]) + (number + 0.5) * width - 0.4 for result in own]
        axes.bar(left, [1e3 * result.seconds for result in own], width, label=name)
    precision = next((result["precision"] for result in results if result["precision"]), "")
    axes.set_title(f"{group} {precision}".strip(), fontsize=9)
    axes.set_xticks(range(len(places)), [str(place) for place in places])
    axes.set_xlabel(along)
    axes.set_ylabel("ms")
    axes.set_yscale("log")
    axes.legend(fontsize=7)


def plot(results: Results, path: Path) -> None:
    """Draws the panels that have results; the same results make the same file."""
    panels = [
        (found, group, along)
        for group, along, fixed in PANELS
        if (found := chosen(results, group, fixed))
    ]
    with matplotlib.rc_context({"svg.hashsalt": "performance", "svg.fonttype": "none"}):
        figure, axes = plt.subplots(
            1, max(len(panels), 1), figsize=(4 * max(len(panels), 1), 3.2), squeeze=False
        )
        for axis, (found, group, along) in zip(axes[0], panels, strict=False):
            draw(axis, found, group, along)
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
