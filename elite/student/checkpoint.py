"""Reads the authors' checkpoints: ELiTe's and 2DPASS's, trained with spconv 1 or 2.

spconv keeps a kernel's axes in z, y, x order, ours are x, y, z. Its versions store weights either
as [C_out, z, y, x, C_in] ("KRSC") or as [z, y, x, C_in, C_out] ("RSCK"). A 1x1x1 convolution is a
trap of its own: whatever the layout says, spconv computes `x @ weight.reshape(C_in, C_out)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike

import torch
from torch import Tensor, nn

__all__ = ["load_reference_checkpoint"]

LAYOUTS = ("auto", "KRSC", "RSCK")
# Of a distillation checkpoint, only the 3D network is the student.
STUDENT_PREFIX = "model_3d."
# The class weights of the authors' loss are saved as a buffer of the network.
IGNORED_PREFIXES = ("criterion.",)

# Our module -> the authors' module, within one block and in the whole network.
BLOCK_MODULES = {
    f"voxel_branch.{i}.{ours}": f"v_enc.{i}.{theirs}"
    for i in (0, 1)
    for ours, theirs in {
        "conv1": "layers.0",
        "norm1": "layers.1",
        "conv2": "layers.3",
        "norm2": "layers.4",
        "shortcut": "layers_in.0",
        "shortcut_norm": "layers_in.1",
    }.items()
} | {
    "point_branch.identity": "p_enc.layer_in.0",
    **{f"point_branch.context.{i}": f"p_enc.PPmodel.{i}" for i in (0, 2, 3, 5, 6)},
    **{f"point_branch.output.{i}": f"p_enc.layer_out.{i}" for i in (0, 2)},
}
OUTER_MODULES = {
    **{f"point_features.mlp.{i}": f"voxel_3d_generator.PPmodel.{i}" for i in (0, 2)},
    "head.hidden": "classifier.0",
    "head.logits": "classifier.2",
}


def load_reference_checkpoint(
    student: nn.Module, checkpoint: str | PathLike[str] | Mapping[str, Tensor], layout: str
) -> None:
    """Loads the authors' weights into a student, whole or not at all.

    Raises:
        ValueError: naming every key that is missing, unexpected or of the wrong shape.
    """
    if layout not in LAYOUTS:
        raise ValueError(
            f"from_reference_checkpoint: `layout` must be one of {LAYOUTS}, got {layout!r}"
        )
    theirs = _student_part(_read(checkpoint))
    ours: dict[str, Tensor] = {}
    problems = []
    for key, want in student.state_dict().items():
        their_key = _their_key(key)
        if their_key not in theirs:
            if not their_key.endswith("num_batches_tracked"):  # absent from old checkpoints
                problems.append(f"missing: {their_key}")
            continue
        weight = theirs.pop(their_key)
        try:
            ours[key] = _convert(key, weight, want.shape, layout)
        except ValueError as error:
            problems.append(f"wrong shape: {their_key} {error}")
    problems += [f"unexpected: {key}" for key in theirs if not key.startswith(IGNORED_PREFIXES)]
    if problems:
        raise ValueError(
            "from_reference_checkpoint: `checkpoint` does not fit this student:\n  "
            + "\n  ".join(problems)
        )
    student.load_state_dict(student.state_dict() | ours)


def _read(checkpoint: str | PathLike[str] | Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if isinstance(checkpoint, Mapping):
        state = checkpoint
    else:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return state.get("state_dict", state)  # type: ignore[return-value]  # Lightning's envelope


def _student_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The student's keys, without their prefix where they have one."""
    prefixed = {
        k[len(STUDENT_PREFIX) :]: v for k, v in state.items() if k.startswith(STUDENT_PREFIX)
    }
    return prefixed or dict(state)


def _their_key(key: str) -> str:
    module, name = key.rsplit(".", 1)
    if not module.startswith("blocks."):
        return f"{OUTER_MODULES[module]}.{name}"
    _, block, inner = module.split(".", 2)
    return f"spv_enc.{block}.{BLOCK_MODULES[inner]}.{name}"


def _convert(key: str, weight: Tensor, shape: torch.Size, layout: str) -> Tensor:
    if key.endswith(("conv1.weight", "conv2.weight")):
        return _convolution(weight, shape, layout)
    if key.endswith("shortcut.weight"):
        return _pointwise_convolution(weight, shape)
    _require(weight.shape == shape, weight, shape)
    return weight


def _require(condition: bool, weight: Tensor, *expected: torch.Size) -> None:
    if not condition:
        wanted = " or ".join(str(list(shape)) for shape in expected)
        raise ValueError(f"is {list(weight.shape)}, expected {wanted}")


def _convolution(weight: Tensor, shape: torch.Size, layout: str) -> Tensor:
    """To [x, y, z, C_in, C_out]."""
    kx, ky, kz, c_in, c_out = shape
    readings: dict[str, tuple[torch.Size, Callable[[Tensor], Tensor]]] = {
        "KRSC": (torch.Size([c_out, kz, ky, kx, c_in]), lambda w: w.permute(3, 2, 1, 4, 0)),
        "RSCK": (torch.Size([kz, ky, kx, c_in, c_out]), lambda w: w.permute(2, 1, 0, 3, 4)),
    }
    allowed = readings if layout == "auto" else {layout: readings[layout]}
    fitting = [read for their_shape, read in allowed.values() if weight.shape == their_shape]
    _require(bool(fitting), weight, *(s for s, _ in allowed.values()))
    if len(fitting) > 1:
        raise ValueError(f"is {list(weight.shape)}, which fits both layouts: name one by `layout`")
    return fitting[0](weight)


def _pointwise_convolution(weight: Tensor, shape: torch.Size) -> Tensor:
    """To a Linear's [C_out, C_in]: spconv multiplies by the weight read as [C_in, C_out]."""
    c_out, c_in = shape
    krsc, rsck = torch.Size([c_out, 1, 1, 1, c_in]), torch.Size([1, 1, 1, c_in, c_out])
    _require(weight.shape in (krsc, rsck), weight, krsc, rsck)
    return weight.reshape(c_in, c_out).T
