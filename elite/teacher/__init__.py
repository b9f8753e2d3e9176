"""The teacher: an image encoder, adapted with few parameters, that distillation learns from."""

from elite.teacher.checkpoint import CheckpointReport, load_sam
from elite.teacher.sam import SamSize, build_sam, import_segment_anything

__all__ = [
    "CheckpointReport",
    "SamSize",
    "build_sam",
    "import_segment_anything",
    "load_sam",
]
