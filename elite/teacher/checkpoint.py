"""Reads the official checkpoints of Segment Anything, whole or not at all."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from elite.errors import EliteError
from elite.teacher.sam import SamSize, build_sam

__all__ = ["CheckpointReport", "check_state", "load_sam", "read_state"]

NUM_NAMED = 8  # problems that an error message spells out
WHERE_FROM = "Checkpoints are at https://github.com/facebookresearch/segment-anything."


@dataclass(frozen=True)
class CheckpointReport:
    """Which part of a checkpoint a network uses, by the first word of the keys.

    Attributes:
        loaded: numbers of the values that the network took.
        unused: numbers of the values that it has no use for, each known and checked all the same.
    """

    loaded: Mapping[str, int]
    unused: Mapping[str, int]

    def __str__(self) -> str:
        parts = [f"{name} {count:,}" for name, count in self.loaded.items()]
        unused = [f"{name} {count:,}" for name, count in self.unused.items()]
        return f"loaded {', '.join(parts)}; unused {', '.join(unused) or 'nothing'}"

    @classmethod
    def of(cls, state: Mapping[str, Tensor], unused: tuple[str, ...] = ()) -> CheckpointReport:
        """Counts the values of `state`; keys that start with one of `unused` are not loaded."""
        counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        for key, value in state.items():
            counts[key.startswith(unused)][key.split(".")[0]] += value.numel()
        return cls(loaded=dict(counts[False]), unused=dict(counts[True]))


def load_sam(size: SamSize, checkpoint: str | Path) -> nn.Module:
    """A `segment_anything.modeling.Sam` with the weights of an official `.pth` file.

    Raises:
        EliteError: if there is no such file, if it is not a state dict, or naming the keys that are
            missing, unexpected or of another shape.
    """
    with torch.device("meta"):
        sam = build_sam(size)
    state = read_state(checkpoint)
    check_state(state, {k: v.shape for k, v in sam.state_dict().items()}, f"{checkpoint}", size)
    sam.load_state_dict({k: v.float() for k, v in state.items()}, strict=True, assign=True)
    # Not part of checkpoints: the constants that the package normalizes images with.
    sam.pixel_mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    sam.pixel_std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    return sam


def read_state(checkpoint: str | Path) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote; nothing in it is executed."""
    path = Path(checkpoint)
    if not path.is_file():
        raise EliteError(f"{path}: no such file", WHERE_FROM)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise EliteError(f"{path}: not a checkpoint ({error})", WHERE_FROM) from error
    if not isinstance(state, dict):
        raise EliteError(f"{path}: a checkpoint holds named tensors, got {type(state).__name__}")
    foreign = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if foreign:
        raise EliteError(f"{path}: `{foreign[0]}` is not a tensor", WHERE_FROM)
    return state


def check_state(
    state: Mapping[str, Tensor], wanted: Mapping[str, torch.Size], where: str, size: str
) -> None:
    """Compares names and shapes with those of a network.

    Raises:
        EliteError: with the names of the first keys that don't fit.
    """
    problems = [f"missing: {key}" for key in wanted if key not in state]
    problems += [f"unexpected: {key}" for key in state if key not in wanted]
    problems += [
        f"wrong shape: {key} is {list(value.shape)}, expected {list(wanted[key])}"
        for key, value in state.items()
        if key in wanted and value.shape != wanted[key]
    ]
    if problems:
        named = problems[:NUM_NAMED]
        if len(problems) > NUM_NAMED:
            named.append(f"and {len(problems) - NUM_NAMED} more")
        raise EliteError(f"{where} does not fit {size}:\n  " + "\n  ".join(named), WHERE_FROM)
