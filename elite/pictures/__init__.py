"""Pictures of labelled scans: from above, in the camera image, and as a confusion matrix."""

from elite.pictures.birds_eye import birds_eye
from elite.pictures.camera import camera_overlay
from elite.pictures.confusion import confusion_picture
from elite.pictures.dense_labels import contact_sheet, dense_overlay, sparse_overlay

__all__ = [
    "birds_eye",
    "camera_overlay",
    "confusion_picture",
    "contact_sheet",
    "dense_overlay",
    "sparse_overlay",
]
