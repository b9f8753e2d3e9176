"""Labelled scans: files, calibration, augmentation, batches, checks."""

from elite.data.augmentation import AugmentationConfig, augment
from elite.data.calibration import read_projection
from elite.data.camera import CameraConfig, crop_camera, project_scan
from elite.data.check import DataReport, check_data
from elite.data.collate import collate
from elite.data.cut_mix import CutMixConfig, paste_instances
from elite.data.dataset_spec import ClassSpec, DatasetSpec, class_weights
from elite.data.loader import EpochSampler, TrainingScans, training_loader, validation_loader
from elite.data.pseudo_label_manifest import (
    PseudoLabelManifest,
    held_out_sequences,
    refuse_held_out,
)
from elite.data.pseudo_labels import read_pseudo_labels
from elite.data.scan_files import PointFormat, read_labels, read_points, write_labels, write_points
from elite.data.semantic_kitti import Frame, SemanticKitti, find_frames

__all__ = [
    "AugmentationConfig",
    "CameraConfig",
    "ClassSpec",
    "CutMixConfig",
    "DataReport",
    "DatasetSpec",
    "EpochSampler",
    "Frame",
    "PointFormat",
    "PseudoLabelManifest",
    "SemanticKitti",
    "TrainingScans",
    "augment",
    "check_data",
    "class_weights",
    "collate",
    "crop_camera",
    "find_frames",
    "held_out_sequences",
    "paste_instances",
    "project_scan",
    "read_labels",
    "read_points",
    "read_projection",
    "read_pseudo_labels",
    "refuse_held_out",
    "training_loader",
    "validation_loader",
    "write_labels",
    "write_points",
]
