"""Masks from Segment Anything, prompted with the labelled points of an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from elite.errors import EliteError
from elite.files import sha256
from elite.pseudo_label.config import SamMaskConfig
from elite.pseudo_label.masks import Masks, stability, suppress, touches_crop_edge
from elite.pseudo_label.prompts import (
    FRAME,
    LOW_RESOLUTION,
    STRIDE,
    Crop,
    Prompts,
    low_resolution_labels,
    make_prompts,
)
from elite.pseudo_label.scatter import ProjectedPoints
from elite.teacher import build_sam, load_sam

__all__ = ["SamSegmenter", "crops_of", "resized_size", "upscale"]

OVERLAP = 0.25  # of neighbouring crops, as a fraction of their width


class SamSegmenter:
    """Every labelled cell prompts SAM for three masks; the stable and the best of them are kept."""

    def __init__(self, config: SamMaskConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self._sam: Any = _load(config).requires_grad_(False).eval().to(device)

    def describe(self) -> dict[str, Any]:
        """What a manifest says about the segmenter."""
        checkpoint = self.config.checkpoint
        weights = "random" if checkpoint is None else sha256(Path(checkpoint))
        return {"name": f"segment-anything {self.config.size}", "weights": weights}

    @torch.no_grad()
    def segment(
        self,
        image: NDArray[np.uint8],  # [H, W, 3]
        points: ProjectedPoints,
    ) -> Masks:
        """The masks that survive the filters, by falling predicted IoU."""
        crops = crops_of(points.image_size, self.config.crops)
        found = Masks.concatenate(
            part for crop in crops for part in self._segment_crop(image, points, crop)
        )
        return suppress(found, self.config.nms_threshold)

    def _segment_crop(
        self, image: NDArray[np.uint8], points: ProjectedPoints, crop: Crop
    ) -> Iterator[Masks]:
        prompts = make_prompts(
            low_resolution_labels(points, crop), self.config.max_prompts_per_segment
        )
        if not len(prompts.points):
            return
        embedding = self._embed(image, crop)
        for start in range(0, len(prompts.points), self.config.batch_size):
            logits, scores = self._decode(
                embedding, prompts, slice(start, start + self.config.batch_size)
            )
            yield self._stable(upscale(logits, crop), scores, crop, points.image_size)

    def _embed(self, image: NDArray[np.uint8], crop: Crop) -> Tensor:  # [1, C, 64, 64]
        """SAM's view of a crop: resized to the frame's side, normalized, padded below or right."""
        window = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        height, width = resized_size(crop)
        resized = Image.fromarray(window).resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).to(self.device)
        padded = self._sam.preprocess(pixels[None].float())
        embedding: Tensor = self._sam.image_encoder(padded)
        return embedding

    def _decode(
        self, embedding: Tensor, prompts: Prompts, batch: slice
    ) -> tuple[Tensor, Tensor]:  # [K, 256, 256] logits, [K] predicted IoU
        """Three masks for every prompt of the batch."""
        encoder = self._sam.prompt_encoder
        points = torch.from_numpy(prompts.points[batch]).to(self.device)[:, None]
        inside = torch.ones(points.shape[:2], device=self.device)  # the point is on the object
        sparse, _ = encoder(points=(points, inside), boxes=None, masks=None)
        # prompts of one segment share their mask: it is encoded once a batch
        segments, of_prompt = np.unique(prompts.segment[batch], return_inverse=True)
        masks = torch.from_numpy(prompts.masks[segments]).to(self.device)[:, None]
        _, dense = encoder(points=None, boxes=None, masks=masks)
        logits, scores = self._sam.mask_decoder(
            image_embeddings=embedding,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense[torch.from_numpy(of_prompt).to(self.device)],
            multimask_output=True,
        )
        return logits.flatten(0, 1), scores.flatten()

    def _stable(
        self, logits: Tensor, scores: Tensor, crop: Crop, image_size: tuple[int, int]
    ) -> Masks:
        """Binary masks of those logits that hardly depend on where they are cut."""
        stable = stability(logits, self.config.stability_offset) >= self.config.stability_threshold
        dense = logits[stable] > 0
        occupied = dense.flatten(1).any(dim=1)
        masks = Masks.from_dense(
            dense[occupied].cpu().numpy(),
            scores[stable][occupied].float().cpu().numpy(),
            offset=(crop.left, crop.top),
        )
        return masks.select(np.flatnonzero(~touches_crop_edge(masks.boxes, crop, image_size)))


def upscale(logits: Tensor, crop: Crop) -> Tensor:  # [K, 256, 256] -> [K, h, w]
    """Masks in the pixels of the crop: to the 1024 frame, without its padding, to the crop's size.

    Rows and columns that only padding depends on are left out before anything is enlarged.
    """
    height, width = resized_size(crop)
    needed_height = min(-(-height // STRIDE) + 1, LOW_RESOLUTION)
    needed_width = min(-(-width // STRIDE) + 1, LOW_RESOLUTION)
    needed = logits[:, None, :needed_height, :needed_width].float()
    frame = F.interpolate(needed, scale_factor=STRIDE, mode="bilinear", align_corners=False)
    frame = frame[:, :, :height, :width]
    size = (crop.height, crop.width)
    return F.interpolate(frame, size, mode="bilinear", align_corners=False)[:, 0]


def resized_size(crop: Crop) -> tuple[int, int]:
    """Height and width of the crop in SAM's frame, rounded as SAM rounds them."""
    scale = FRAME / crop.longest_side
    return int(crop.height * scale + 0.5), int(crop.width * scale + 0.5)


def crops_of(image_size: tuple[int, int], count: int) -> list[Crop]:
    """Windows side by side (above each other in an upright image) that overlap by a quarter."""
    height, width = image_size
    side = max(height, width)
    length = side if count == 1 else int(np.ceil(side / (count - (count - 1) * OVERLAP)))
    starts = [round(i * (side - length) / max(count - 1, 1)) for i in range(count)]
    if width >= height:
        return [Crop(start, 0, length, height) for start in starts]
    return [Crop(0, start, width, length) for start in starts]


def _load(config: SamMaskConfig) -> nn.Module:
    if config.checkpoint is not None:
        return load_sam(config.size, config.checkpoint)
    if not config.random_weights:
        raise EliteError(
            "Segment Anything needs a checkpoint",
            "Name one with --checkpoint (docs/pseudo_labels.md says where they are), choose "
            "--segmenter superpixels, which needs none, or set sam.random_weights=true.",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_sam(config.size)
