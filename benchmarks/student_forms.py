"""From the points of a scan to labels, in every form that is compared.

`elite_ops` is the student's inference form, `elite_ops_captured` the same as one CUDA graph, and
`elite_ops_literal` its definition on the same ops. The others are the authors' formulation: voxels
by torch.unique over rows, as they have it, or over packed keys; convolutions by spconv, or by torch
alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from authors_parts import AuthorsParts, TorchConvolutions, unique_keys, unique_rows
from literal_student import LiteralStudent, OwnParts, Parts
from numpy.typing import NDArray
from peers import Missing, load
from peers.spconv_layers import SpconvLayers
from precision import PRECISIONS
from torch import Tensor
from workloads import scan

from elite.data import read_points
from elite.student import Student
from elite.student.head import most_likely
from tests.elite.plain_student import random_reference_checkpoint

__all__ = ["AUTHORS", "FORMS", "Form", "agreement", "build_form", "literal_form", "random_student"]

AUTHORS: dict[str, Callable[[], Parts]] = {
    "spconv_rows": lambda: AuthorsParts(unique_rows, SpconvLayers()),
    "spconv_keys": lambda: AuthorsParts(unique_keys, SpconvLayers()),
    "torch_rows": lambda: AuthorsParts(unique_rows, TorchConvolutions()),
    "torch_keys": lambda: AuthorsParts(unique_keys, TorchConvolutions()),
}
FORMS = ("elite_ops", "elite_ops_captured", "elite_ops_literal", *AUTHORS)

Network = Callable[[], Tensor]  # the network alone, on voxels that are given: logits


def random_student(device: torch.device) -> Student:
    """Weights that keep variances near one, as training does; logits spread over several units."""
    return Student.from_reference_checkpoint(random_reference_checkpoint(0)).to(device).eval()


@dataclass(frozen=True)
class Form:
    """One form on a device, in a precision.

    Attributes:
        logits: of points and batch index, and which points are inside.
        network: for given points of one scan, a call of the network alone on voxels already built;
            None where the two can't be told apart.
        info: what a reader of its times has to know.
        own_labels: points to labels, where the form has a way without logits of each point.
    """

    device: torch.device
    logits: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    network: Callable[[Tensor, Tensor], Network] | None
    info: dict[str, str | int]
    own_labels: Callable[[Tensor], Tensor] | None = None

    @torch.no_grad()
    def labels(self, points: Tensor) -> Tensor:
        """The most likely class but 0 of each point, 0 outside the range."""
        if self.own_labels is not None:
            return self.own_labels(points)
        batch_index = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        logits, valid = self.logits(points, batch_index)
        return most_likely(logits, valid)

    def label_file(self, path: Path) -> NDArray[np.int64]:
        """Reads a scan, labels it, and brings the labels to the host."""
        points = torch.from_numpy(read_points(path)).to(self.device)
        labels: NDArray[np.int64] = self.labels(points).cpu().numpy()
        return labels


def build_form(name: str, device: torch.device, precision: str = "fp32") -> Form:
    """A form by name, with the weights of `random_student`.

    Raises:
        Missing: if a library is missing, or the form does not exist in this precision.
    """
    dtype = PRECISIONS[precision].dtype
    if name == "elite_ops":
        return _fused(random_student(device), device, dtype)
    if name == "elite_ops_captured":
        return _captured(random_student(device), device, dtype)
    if name.startswith("spconv") and precision == "bf16":
        raise Missing(f"{name}: spconv has no bf16")
    literal, info = literal_form(name, random_student(device))

    def cast() -> torch.autocast:
        return torch.autocast(device.type, dtype, enabled=precision != "fp32")

    @torch.no_grad()
    def logits(points: Tensor, batch_index: Tensor) -> tuple[Tensor, Tensor]:
        with cast():
            return literal(points, batch_index, 1)

    @torch.no_grad()
    def network(points: Tensor, batch_index: Tensor) -> Network:
        valid = literal.inside(points)
        inside = points[valid]
        scales = literal.scales(inside, batch_index[valid], 1)

        @torch.no_grad()
        def call() -> Tensor:
            with cast():
                return literal.logits(inside, scales)

        return call

    return Form(device, logits, network, info)


def literal_form(name: str, student: Student) -> tuple[LiteralStudent, dict[str, str | int]]:
    """The definition with the parts of that name, and what has to be known about them."""
    if name == "elite_ops_literal":
        return LiteralStudent(student, OwnParts()), {}
    info: dict[str, str | int] = {}
    if name.startswith("spconv"):
        info["contestant_version"] = load("spconv").library()
        if next(student.parameters()).device.type == "cpu":
            info["convolution_threads"] = 1
    return LiteralStudent(student, AUTHORS[name]()), info


def _fused(student: Student, device: torch.device, dtype: torch.dtype) -> Form:
    fused = student.fused().to(dtype)

    @torch.no_grad()
    def network(points: Tensor, batch_index: Tensor) -> Network:
        pyramid = fused.pyramid(points, batch_index, 1)

        @torch.no_grad()
        def call() -> Tensor:
            return fused.logits(points, pyramid)

        return call

    @torch.no_grad()
    def labels(points: Tensor) -> Tensor:
        return fused.labels(points, fused.pyramid(points, None, 1))

    return Form(device, fused, network, {}, labels)


def _captured(student: Student, device: torch.device, dtype: torch.dtype) -> Form:
    """With room for the points of the scan that is measured, and for as many voxels."""
    captured = student.fused().capture(len(scan()[1]), dtype=dtype)

    def logits(points: Tensor, batch_index: Tensor) -> tuple[Tensor, Tensor]:
        captured(points)
        captured.check()
        return captured.logits, captured.valid

    return Form(device, logits, None, {}, captured)


def agreement(
    logits: Tensor,  # [N, C]
    wanted: Tensor,  # [N, C]
) -> float:
    """The part of the rows whose most likely class but 0 is the same."""
    same = logits[:, 1:].argmax(dim=1) == wanted[:, 1:].argmax(dim=1)
    return float(same.double().mean())
