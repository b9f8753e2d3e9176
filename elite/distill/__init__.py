"""What the student learns from the teacher: heads on both, and the losses between them."""

from elite.distill.distiller import DistillConfig, Distiller, DistillTerms
from elite.distill.heads import PatchHead, VoxelHead

__all__ = ["DistillConfig", "DistillTerms", "Distiller", "PatchHead", "VoxelHead"]
