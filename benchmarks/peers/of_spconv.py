"""spconv 2.3 and spconv-triton 1.0, which share one interface.

Both take any order of the axes, as long as indices, shape and kernel agree, and displace as we do.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from peers.contestant import Contestant, Missing
from peers.spconv_on_cpu import repair

__all__ = ["Spconv", "SpconvSplit", "SpconvTriton"]

KERNEL = {
    "ksize": [3, 3, 3],
    "stride": [1, 1, 1],
    "padding": [1, 1, 1],
    "dilation": [1, 1, 1],
    "out_padding": [0, 0, 0],
    "subm": True,
}


class Spconv(Contestant):
    """The algorithm that spconv chooses by itself for this kernel, with sums in float32."""

    package = "spconv"
    distributions = ("spconv", "spconv-cu126")
    algorithm = "MaskImplicitGemm"
    leniency = 5.0  # of what it rounds between its sums; the error stands beside the time

    @classmethod
    def module(cls, name: str) -> ModuleType:
        return importlib.import_module(f"{cls.package}.{name}")

    @classmethod
    def library(cls) -> str:
        cls.module("pytorch")
        for name in cls.distributions:
            try:
                return f"{name} {version(name)}"
            except importlib.metadata.PackageNotFoundError:
                continue
        return cls.package

    def prepare(self) -> None:
        super().prepare()
        self.module("constants").SPCONV_ALLOW_TF32 = self.case.precision.tf32
        self.ops, self.functional = self.module("pytorch.ops"), self.module("pytorch.functional")
        if self.on_cpu:
            repair()
        algorithms = self.module("core").ConvAlgo
        self.algo = algorithms.Native if self.on_cpu else getattr(algorithms, self.algorithm)

    def to_weight(self, weight: Tensor) -> Tensor:  # [C_out, 3, 3, 3, C_in]
        return weight.permute(2, 0, 1).unflatten(1, (3, 3, 3))

    def from_weight(self, weight: Tensor) -> Tensor:
        return weight.flatten(1, 3).permute(1, 2, 0)

    def build_map(self) -> tuple[Any, ...]:
        case = self.case
        arguments = (case.indices, case.batch_size, list(case.spatial_shape), self.algo)
        if self.on_cpu:
            _, pairs, counts = self.ops.get_indice_pairs(*arguments, **KERNEL)
            return pairs, counts
        return tuple(self.ops.get_indice_pairs_implicit_gemm(*arguments, **KERNEL, is_train=True))

    def convolve(self, kernel_map: tuple[Any, ...]) -> Tensor:
        if self.on_cpu:
            if torch.get_num_threads() > 1:
                raise Missing(f"{self.package}: right on one CPU thread only (a data race)")
            native: Tensor = self.functional.indice_subm_conv(
                self.features, self.weight, *kernel_map, len(self.features), self.algo
            )
            return native
        _, _, *tables, masks = kernel_map
        timer = self.module("tools").CUDAKernelTimer(False)
        is_train, is_submanifold, fp32_accum = torch.is_grad_enabled(), True, True
        out: Tensor = self.functional.implicit_gemm(
            self.features,
            self.weight,
            *tables,
            len(self.features),
            masks,
            is_train,
            is_submanifold,
            timer,
            fp32_accum,
        )
        return out

    def pairs(self, kernel_map: tuple[Any, ...]) -> int:
        if self.on_cpu:
            # Pairs of mirrored offsets are listed once; the centre's are not counted.
            return 2 * int(kernel_map[1][:13].sum()) + len(self.features)
        return int((kernel_map[2] >= 0).sum())


class SpconvSplit(Spconv):
    """spconv's other algorithm, which sorts two halves of the offsets apart."""

    algorithm = "MaskSplitImplicitGemm"

    def prepare(self) -> None:
        super().prepare()
        if self.on_cpu:
            raise Missing("spconv_split: has one algorithm on the CPU")


class SpconvTriton(Spconv):
    package = "spconv_triton"
    distributions = ("spconv-triton",)

    def prepare(self) -> None:
        super().prepare()
        if self.on_cpu:
            raise Missing("spconv_triton: needs a GPU")
