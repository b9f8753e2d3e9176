"""What decides how sparse point labels become dense image labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from elite.teacher import SamSize

__all__ = [
    "PseudoLabelConfig",
    "SamMaskConfig",
    "SuperpixelConfig",
    "VisibilityConfig",
]


@dataclass(frozen=True)
class VisibilityConfig:
    """When a point counts as hidden: something near its pixel is well in front of it.

    The window must bridge the gaps between neighbouring points of the nearer surface, and no more:
    the defaults fit 64 beams in an image 1241 pixels wide.

    Attributes:
        rows: how far above and below the point's pixel the window reaches.
        columns: how far to its left and right.
        relative: how much farther than the nearest point of the window, as a fraction ...
        absolute: ... and in metres on top of that, a visible point may be.
    """

    enabled: bool = True
    rows: int = 6
    columns: int = 1
    relative: float = 0.2
    absolute: float = 0.5


@dataclass(frozen=True)
class SamMaskConfig:
    """Segment Anything, prompted with the points.

    Attributes:
        size: of the image encoder.
        checkpoint: the official `.pth` file.
        random_weights: must be true where there is no checkpoint; the masks then mean nothing.
        crops: windows, side by side, that each fill SAM's square; more of them see finer detail.
        stability_threshold: least IoU of the masks cut `stability_offset` above and below 0.
        nms_threshold: box IoU from which the mask of lower predicted IoU goes.
        batch_size: prompts decoded at once.
        max_prompts_per_segment: prompts of one class or instance, evenly chosen; None: all.
    """

    size: SamSize = "vit_h"
    checkpoint: str | None = None
    random_weights: bool = False
    crops: int = 1
    stability_threshold: float = 0.9
    stability_offset: float = 1.0
    nms_threshold: float = 0.7
    batch_size: int = 32
    max_prompts_per_segment: int | None = None


@dataclass(frozen=True)
class SuperpixelConfig:
    """Felzenszwalb's graph-based segmentation at several scales; finer segments paint over coarser.

    Attributes:
        scales: from coarse to fine; a larger one gives larger segments.
        sigma: of the Gaussian that smooths the image first, pixels.
        min_size: pixels of the smallest segment.
    """

    scales: tuple[float, ...] = (1000.0, 100.0)
    sigma: float = 0.4
    min_size: int = 10


@dataclass(frozen=True)
class PseudoLabelConfig:
    """The whole of it. Without a SAM checkpoint, `superpixels` is the segmenter to choose.

    Attributes:
        min_labelled: least share of labelled points among those in a mask, for it to be painted.
            0, as in the paper, suits scans whose points are nearly all labelled; where only some
            objects are, it lets their labels run over everything that shares a mask with them.
    """

    segmenter: Literal["sam", "superpixels"] = "sam"
    min_labelled: float = 0.0
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)
    sam: SamMaskConfig = field(default_factory=SamMaskConfig)
    superpixels: SuperpixelConfig = field(default_factory=SuperpixelConfig)
