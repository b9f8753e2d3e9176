"""DINOv2 as a backbone: the proof that a teacher is not bound to Segment Anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from elite.errors import EliteError
from elite.teacher.backbone import TOKEN_STRIDE, Backbone, run_block
from elite.teacher.checkpoint import CheckpointReport

__all__ = ["Dinov2Encoder", "Dinov2Size"]

Dinov2Size = Literal["base", "test"]
PATCH = 14  # pixels
SIZES: dict[Dinov2Size, dict[str, Any]] = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
    "test": {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2},
}
# Releases of `transformers` differ in their names for the same Linears.
ADAPTABLE: Mapping[str, str] = {
    "q": r"model\.encoder\.layer\.\d+\.attention\.(?:attention\.query|q_proj)",
    "k": r"model\.encoder\.layer\.\d+\.attention\.(?:attention\.key|k_proj)",
    "v": r"model\.encoder\.layer\.\d+\.attention\.(?:attention\.value|v_proj)",
    "proj": r"model\.encoder\.layer\.\d+\.attention\.(?:output\.dense|o_proj)",
    "lin1": r"model\.encoder\.layer\.\d+\.mlp\.fc1",
    "lin2": r"model\.encoder\.layer\.\d+\.mlp\.fc2",
}
WHERE_FROM = "A folder like that of https://huggingface.co/facebook/dinov2-base is expected."


class Dinov2Encoder(Backbone):
    """The vision transformer of DINOv2 (Oquab et al., 2023), from `transformers`.

    Its patches are 14 pixels wide. The image is made smaller by 14 / 16, so that one patch shows
    what a token at stride 16 should. The stages end after each quarter of the blocks.

    Args:
        size: of the encoder.
        checkpoint: a folder with `config.json` and `model.safetensors`, or none for random weights.
        gradient_checkpointing: see `TeacherConfig`.
        seed: of random weights.
    """

    num_stages = 4
    pixel_mean = (123.675, 116.28, 103.53)
    pixel_std = (58.395, 57.12, 57.375)
    adaptable = ADAPTABLE

    def __init__(
        self,
        size: Dinov2Size,
        checkpoint: str | Path | None = None,
        *,
        gradient_checkpointing: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if checkpoint is None:
            self.model = _random(size, seed)
        else:
            self.model = _pretrained(size, checkpoint)
            self.report = CheckpointReport.of(self.model.state_dict())
        config: Any = self.model.config
        self.channels = int(config.hidden_size)
        quarter = int(config.num_hidden_layers) // self.num_stages
        self.depths = [quarter * (i + 1) for i in range(self.num_stages)]
        self.gradient_checkpointing = gradient_checkpointing
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        height, width = (size // TOKEN_STRIDE for size in images.shape[-2:])
        smaller = functional.interpolate(
            images, size=(height * PATCH, width * PATCH), mode="bilinear", antialias=True
        )
        model: Any = self.model
        tokens = model.embeddings(smaller)  # [B, 1 + h * w, C]: the first is the whole image's
        stages = []
        for depth, block in enumerate(model.encoder.layer, start=1):
            tokens = run_block(block, tokens, self.gradient_checkpointing)
            if depth in self.depths:
                patches = tokens[:, 1:].transpose(1, 2)  # [B, C, h * w]
                stages.append(patches.reshape(len(patches), self.channels, height, width))
        return stages

    def cut(self, num_stages: int) -> None:
        self.num_stages = num_stages
        self.depths = self.depths[:num_stages]
        encoder: Any = self.model.encoder
        encoder.layer = encoder.layer[: self.depths[-1]]


def _random(size: Dinov2Size, seed: int) -> nn.Module:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(image_size=518, patch_size=PATCH, **SIZES[size])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Dinov2Model(config)


def _pretrained(size: Dinov2Size, checkpoint: str | Path) -> nn.Module:
    """Reads a local folder, whole or not at all; nothing is fetched."""
    from transformers import Dinov2Config, Dinov2Model

    folder = Path(checkpoint)
    if not (folder / "config.json").is_file():
        raise EliteError(f"{folder}: no such folder with a config.json", WHERE_FROM)
    config = Dinov2Config.from_pretrained(folder, local_files_only=True)
    for name, value in (SIZES[size] | {"patch_size": PATCH}).items():
        got = getattr(config, name)
        if got != value:
            raise EliteError(f"{folder}: `{name}` of {size} is {value}, got {got}", WHERE_FROM)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"):
        setattr(config, name, 0.0)  # only its adapters learn, and nothing in it is random
    loaded: Any = Dinov2Model.from_pretrained(
        folder, config=config, local_files_only=True, output_loading_info=True
    )
    model, info = loaded
    problems = [
        f"{kind.removesuffix('_keys')}: {key}"
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        for key in info[kind]
    ]
    if problems:
        listed = "\n  ".join(sorted(problems))
        raise EliteError(f"{folder} does not fit {size}:\n  {listed}", WHERE_FROM)
    return model.float()  # type: ignore[no-any-return]
