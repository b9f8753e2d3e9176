"""Dense labels of camera images from the sparse labels of LiDAR points, by Segment Anything."""

from elite.pseudo_label.config import (
    PseudoLabelConfig,
    SamMaskConfig,
    SuperpixelConfig,
    VisibilityConfig,
)
from elite.pseudo_label.quality import Quality
from elite.pseudo_label.run import (
    PseudoLabelReport,
    Shard,
    build_segmenter,
    densify,
    make_pseudo_labels,
)
from elite.pseudo_label.showcase import CONTACT_SHEET, write_contact_sheet
from elite.pseudo_label.truth import TruthComparison, compare_with_truth

__all__ = [
    "CONTACT_SHEET",
    "PseudoLabelConfig",
    "PseudoLabelReport",
    "Quality",
    "SamMaskConfig",
    "Shard",
    "SuperpixelConfig",
    "TruthComparison",
    "VisibilityConfig",
    "build_segmenter",
    "compare_with_truth",
    "densify",
    "make_pseudo_labels",
    "write_contact_sheet",
]
