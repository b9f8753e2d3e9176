"""Keeps what a frozen encoder computed: the same image gives the same features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from elite.files import replacing

__all__ = ["FeatureCache"]


class FeatureCache:
    """Stage maps on disk, one file an image.

    A file is found by the pixels of the image, the weights of the encoder and the precision of
    its arithmetic, so it can't be mistaken for another. It pays where the same crops come back:
    without random crops and colours, or over many short experiments on few scans.

    Args:
        folder: may be shared by processes and runs.
        encoder: whose features are kept; must stay as it is.
        max_bytes: no more files are written when the folder holds this much.

    Attributes:
        hits: images that were found.
        misses: images that were computed.
    """

    def __init__(self, folder: str | Path, encoder: nn.Module, max_bytes: int = 20 * 10**9) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.max_bytes = max_bytes
        self.hits = self.misses = 0
        self._bytes = sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))
        self._encoder_key = _digest(*encoder.state_dict().values())

    def stages(
        self,
        images: Tensor,  # [B, 3, H, W] uint8
        compute: Callable[[Tensor], list[Tensor]],
    ) -> list[Tensor]:  # stage maps [B, C, h, w]
        """The stage maps of `images`; those that are not known yet come from `compute`."""
        paths = [self.folder / f"{self._key(image)}.safetensors" for image in images]
        found = [_read(path, images.device) for path in paths]
        unknown = [i for i, stages in enumerate(found) if stages is None]
        self.hits += len(paths) - len(unknown)
        self.misses += len(unknown)
        if unknown:
            computed = compute(images[unknown])
            for row, i in enumerate(unknown):
                found[i] = [stage[row] for stage in computed]
                self._write(paths[i], found[i] or [])
        return [torch.stack(stage) for stage in zip(*(s for s in found if s), strict=True)]

    def _key(self, image: Tensor) -> str:
        kind = image.device.type
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        return _digest(image, f"{self._encoder_key} {autocast}")

    def _write(self, path: Path, stages: list[Tensor]) -> None:
        size = sum(stage.numel() * stage.element_size() for stage in stages)
        if self._bytes + size > self.max_bytes:
            return
        tensors = {str(i): stage.contiguous().cpu() for i, stage in enumerate(stages)}
        with replacing(path) as temporary:
            save_file(tensors, str(temporary))
        self._bytes += size


def _read(path: Path, device: torch.device) -> list[Tensor] | None:
    """The stage maps of a file; none where it is absent, or damaged by whatever."""
    if not path.is_file():
        return None
    try:
        tensors = load_file(str(path), device=str(device))
    except SafetensorError:
        return None
    return [tensors[str(i)] for i in range(len(tensors))]


def _digest(*parts: Tensor | str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            digest.update(f"{part.dtype} {tuple(part.shape)}".encode())
            digest.update(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
