"""Options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elite.errors import EliteError

if TYPE_CHECKING:
    import torch

__all__ = [
    "FLOAT32",
    "Device",
    "Json",
    "Precision",
    "Tta",
    "Views",
    "Weights",
    "choose_device",
    "choose_views",
    "find_weights",
]


class _Dtype(str, Enum):
    """Of torch, by name."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"

    @property
    def of_torch(self) -> torch.dtype:
        import torch

        dtype: torch.dtype = getattr(torch, self.value)
        return dtype


Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda or cuda:N. Default: a GPU if there is one.")
]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="A .safetensors file, a run folder, or a checkpoint of the authors' ELiTe or of "
        "2DPASS. Default: the newest run below ./runs and ./demo."
    ),
]
Precision = Annotated[
    _Dtype,
    typer.Option(help="What the network computes in; sums are in float32 in any case."),
]
FLOAT32 = _Dtype.float32
Tta = Annotated[
    int, typer.Option(help="Sum the logits of N views of each scan, the first as it is.", min=1)
]
Views = Annotated[
    list[str] | None,
    typer.Option(
        "--view",
        metavar="KEY=VALUE",
        help="What --tta may change, as in rotation=15 flip_x=false; may be repeated.",
    ),
]


def choose_views(count: int, changes: list[str] | None) -> list[torch.Tensor]:
    from elite.config import from_overrides
    from elite.data import AugmentationConfig
    from elite.engine.tta import view_transforms

    return view_transforms(count, from_overrides(AugmentationConfig, changes or []))


def choose_device(name: str | None) -> torch.device:
    import torch

    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EliteError(f"there is no device {name!r}", "Use cpu, cuda or cuda:N.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EliteError("there is no CUDA device", "Use --device cpu; see `elite doctor`.")
    return device


def find_weights(weights: Path | None) -> Path:
    """The weights file that is meant, or the newest one around."""
    if weights is not None:
        return _of_run(weights) if weights.is_dir() else weights
    # A run without validation has last weights only.
    found = [p for top in ("runs", "demo") for p in Path(top).rglob("last.safetensors")]
    if not found:
        raise EliteError(
            "there are no weights",
            "Name a file with --weights, or make some: `elite demo` trains in minutes.",
        )
    return _of_run(max(found, key=lambda path: path.stat().st_mtime).parent)


def _of_run(folder: Path) -> Path:
    best = folder / "best.safetensors"
    return best if best.is_file() else folder / "last.safetensors"
