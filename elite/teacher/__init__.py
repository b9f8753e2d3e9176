"""The teacher: an image encoder, adapted with few parameters, that distillation learns from."""

from elite.teacher.backbone import Backbone
from elite.teacher.checkpoint import CheckpointReport, load_sam
from elite.teacher.config import PeftConfig, TeacherConfig
from elite.teacher.feature_cache import FeatureCache
from elite.teacher.sam import SamSize, build_sam, import_segment_anything
from elite.teacher.teacher import Teacher

__all__ = [
    "Backbone",
    "CheckpointReport",
    "FeatureCache",
    "PeftConfig",
    "SamSize",
    "Teacher",
    "TeacherConfig",
    "build_sam",
    "import_segment_anything",
    "load_sam",
]
