"""Labelled scans: files, calibration, augmentation, batches, checks."""

from elite.data.augmentation import AugmentationConfig, augment
from elite.data.calibration import read_projection
from elite.data.check import DataReport, check_data
from elite.data.collate import collate
from elite.data.dataset_spec import ClassSpec, DatasetSpec, class_weights
from elite.data.loader import EpochSampler, TrainingScans, training_loader, validation_loader
from elite.data.scan_files import read_labels, read_points, write_labels, write_points
from elite.data.semantic_kitti import Frame, SemanticKitti, find_frames

__all__ = [
    "AugmentationConfig",
    "ClassSpec",
    "DataReport",
    "DatasetSpec",
    "EpochSampler",
    "Frame",
    "SemanticKitti",
    "TrainingScans",
    "augment",
    "check_data",
    "class_weights",
    "collate",
    "find_frames",
    "read_labels",
    "read_points",
    "read_projection",
    "training_loader",
    "validation_loader",
    "write_labels",
    "write_points",
]
