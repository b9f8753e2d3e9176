"""Segment Anything: the import of its package, and its models in four sizes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Literal, NoReturn

import torch
from torch import nn

__all__ = ["SAM_SIZES", "SamSize", "build_sam", "import_segment_anything", "randomize_tables"]

SamSize = Literal["vit_b", "vit_l", "vit_h", "test"]

# What `segment_anything` takes from torchvision when it is imported: module -> names.
TORCHVISION_NAMES = {
    "torchvision.ops.boxes": ("batched_nms", "box_area"),
    "torchvision.transforms.functional": ("resize", "to_pil_image"),
}


# ---- the package ---------------------------------------------------------------------------------


def import_segment_anything() -> ModuleType:
    """Imports `segment_anything`, with or without torchvision.

    The package imports four functions of torchvision for its automatic mask generator and its image
    resizing. We use neither, and torchvision's wheels only work with the one torch that they were
    built for. So where torchvision does not import, stand-ins take its place while the package is
    imported, and are gone afterwards; calling one of the four functions then says what is missing.

    Raises:
        ImportError: if `segment_anything` itself is not installed.
    """
    if "segment_anything" in sys.modules:
        return sys.modules["segment_anything"]
    if _torchvision_works():
        return importlib.import_module("segment_anything")
    with _torchvision_stand_in():
        return importlib.import_module("segment_anything")


def _torchvision_works() -> bool:
    """A wheel for another torch fails with all kinds of errors while it is imported."""
    try:
        for name in TORCHVISION_NAMES:
            importlib.import_module(name)
    except Exception:
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        return False
    return True


@contextmanager
def _torchvision_stand_in() -> Iterator[None]:
    parts = {".".join(name.split(".")[:i]) for name in TORCHVISION_NAMES for i in (1, 2, 3)}
    modules = {name: ModuleType(name) for name in sorted(parts)}
    for name, functions in TORCHVISION_NAMES.items():
        for function in functions:
            setattr(modules[name], function, _missing(f"{name}.{function}"))
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def _missing(name: str) -> Any:
    def raise_import_error(*_: object, **__: object) -> NoReturn:
        raise ImportError(f"{name}: this part of segment_anything needs torchvision")

    return raise_import_error


# ---- models --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Shape:
    """What differs between the sizes; image 1024, patch 16 and window 14 are common to all."""

    embed_dim: int
    depth: int
    num_heads: int
    global_blocks: tuple[int, ...]
    prompt_dim: int = 256
    decoder_mlp_dim: int = 2048


SAM_SIZES: dict[SamSize, _Shape] = {
    "vit_b": _Shape(768, 12, 12, (2, 5, 8, 11)),
    "vit_l": _Shape(1024, 24, 16, (5, 11, 17, 23)),
    "vit_h": _Shape(1280, 32, 16, (7, 15, 23, 31)),
    # Of no published weights: small enough for tests and demonstrations.
    "test": _Shape(32, 8, 2, (1, 3, 5, 7), prompt_dim=32, decoder_mlp_dim=64),
}


def build_sam(size: SamSize) -> nn.Module:
    """A `segment_anything.modeling.Sam` with the package's initial, random weights.

    Its parts are `image_encoder`, `prompt_encoder` and `mask_decoder`. For the three published
    sizes the model equals that of the package's own registry.
    """
    modeling = import_segment_anything().modeling
    shape = SAM_SIZES[size]
    grid = 1024 // 16
    return modeling.Sam(  # type: ignore[no-any-return]
        image_encoder=modeling.ImageEncoderViT(
            img_size=1024,
            patch_size=16,
            embed_dim=shape.embed_dim,
            depth=shape.depth,
            num_heads=shape.num_heads,
            mlp_ratio=4,
            out_chans=shape.prompt_dim,
            qkv_bias=True,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=shape.global_blocks,
        ),
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=shape.prompt_dim,
            image_embedding_size=(grid, grid),
            input_image_size=(1024, 1024),
            mask_in_chans=16,
        ),
        mask_decoder=modeling.MaskDecoder(
            num_multimask_outputs=3,
            transformer=modeling.TwoWayTransformer(
                depth=2,
                embedding_dim=shape.prompt_dim,
                mlp_dim=shape.decoder_mlp_dim,
                num_heads=8,
            ),
            transformer_dim=shape.prompt_dim,
            iou_head_depth=3,
            iou_head_hidden_dim=shape.prompt_dim,
        ),
    ).eval()


@torch.no_grad()
def randomize_tables(sam: nn.Module, generator: torch.Generator | None = None) -> None:
    """Fills the position tables with small random numbers: the package leaves them 0.

    A random model whose positions are all alike would hide every mistake in their use.
    """
    for name, parameter in sam.named_parameters():
        if name.endswith(("pos_embed", "rel_pos_h", "rel_pos_w")):
            parameter.normal_(std=0.02, generator=generator)
