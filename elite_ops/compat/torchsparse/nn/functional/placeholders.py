"""Names that programs import and seldom use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

__all__ = [
    "build_kernel_map",
    "convert_transposed_out_in_map",
    "spupsample_generative",
    "transpose_kernel_map",
]


def _without_face(name: str, instead: str) -> Callable[..., NoReturn]:
    def placeholder(*arguments: Any, **options: Any) -> NoReturn:
        raise NotImplementedError(f"{name}: has no face here; {instead}")

    placeholder.__name__ = name
    return placeholder


build_kernel_map = _without_face("build_kernel_map", "use elite_ops.connect_voxels")
transpose_kernel_map = _without_face("transpose_kernel_map", "use elite_ops.KernelMap.swapped")
convert_transposed_out_in_map = _without_face(
    "convert_transposed_out_in_map", "use elite_ops.KernelMap.swapped"
)
spupsample_generative = _without_face("spupsample_generative", "use elite_ops.output_voxels")
