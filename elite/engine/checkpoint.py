"""Checkpoints: weights for others as safetensors, and the full state of a run for resuming."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from elite.config import from_mapping, to_mapping
from elite.data import DatasetSpec
from elite.errors import EliteError
from elite.files import replacing
from elite.student import Student, StudentConfig

__all__ = ["Progress", "load_state", "load_student", "load_weights", "save_state", "save_weights"]


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        epoch: the current epoch, from 0.
        step_in_epoch: finished steps of it.
        step: finished steps of the run.
        skipped: steps without an update, because a gradient was not finite.
        best_miou: the best validation so far.
    """

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    skipped: int = 0
    best_miou: float = -1.0


# ---- weights -------------------------------------------------------------------------------------


def save_weights(
    path: Path, network: torch.nn.Module, config: StudentConfig, spec: DatasetSpec
) -> None:
    """Writes the weights, with what is needed to predict from them alone."""
    metadata = {"student": json.dumps(to_mapping(config)), "dataset": json.dumps(to_mapping(spec))}
    state = {name: value.detach().contiguous() for name, value in network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(state, str(temporary), metadata=metadata)


def load_weights(path: Path, network: torch.nn.Module) -> None:
    """Loads weights, and nothing else, into `network`; every key must fit."""
    state, _ = _read_weights(path)
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    found = {name: value.shape for name, value in state.items()}
    if wanted != found:
        wrong = sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))
        raise EliteError(
            f"{path}: {len(wrong)} weights are missing, unexpected or of another shape, "
            f"such as {wrong[0]}",
            "The weights belong to a network of another configuration.",
        )
    network.load_state_dict(state)


def load_student(path: Path) -> tuple[Student, DatasetSpec]:
    """The network and the data set that a weights file is of.

    Args:
        path: a .safetensors file of this project, or a checkpoint of the authors' ELiTe or of
            2DPASS.
    """
    if path.suffix != ".safetensors":
        if not path.is_file():
            raise EliteError(f"{path}: no such file")
        return Student.from_reference_checkpoint(path), DatasetSpec.load("semantic_kitti")
    state, metadata = _read_weights(path)
    if not {"student", "dataset"} <= metadata.keys():
        raise EliteError(f"{path}: the file does not say which network it is of")
    student = Student(from_mapping(StudentConfig, json.loads(metadata["student"])))
    student.load_state_dict(state, strict=True)
    return student, from_mapping(DatasetSpec, json.loads(metadata["dataset"]))


def _read_weights(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    if not path.is_file():
        raise EliteError(f"{path}: no such file")
    try:
        with safe_open(str(path), framework="pt") as file:
            state = {name: file.get_tensor(name) for name in list(file.keys())}
            return state, file.metadata() or {}
    except SafetensorError as error:
        raise EliteError(f"{path}: not a safetensors file ({error})") from error


# ---- full state ----------------------------------------------------------------------------------


def save_state(path: Path, progress: Progress, **parts: Any) -> None:
    """Writes the state of a run to one file: `progress`, the random numbers, and `parts`.

    Args:
        parts: objects with `state_dict` and `load_state_dict`, such as the network.
    """
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"progress": asdict(progress), "random": _random_state()}
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path, **parts: Any) -> Progress:
    """Restores what `save_state` wrote into the same `parts`."""
    if not path.is_file():
        raise EliteError(f"{path}: no such file", "The run has no checkpoint yet; start it again.")
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    _restore_random_state(state["random"])
    return Progress(**state["progress"])


def _random_state() -> dict[str, Any]:
    """Torch's streams only: data is seeded by position, nothing draws from other global ones."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count() > 0:
        torch.cuda.set_rng_state_all(state["cuda"])
