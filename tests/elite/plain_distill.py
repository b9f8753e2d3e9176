"""Distillation literally from the paper's formulas: every map is resized, nothing is fused."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from elite.distill import Distiller
from elite.types import Batch, StudentOutput
from elite_ops.reference.lovasz_softmax import lovasz_softmax


def plain_distillation(
    distiller: Distiller,
    output: StudentOutput,
    stage_maps: list[torch.Tensor],
    batch: Batch,
) -> dict[str, torch.Tensor]:
    """The weighted terms by name, with the weights of the heads of `distiller`."""
    camera, config = batch.camera, distiller.config
    class_weights = distiller.loss.class_weights
    resized = [
        F.interpolate(m, camera.image_size, mode="bilinear", align_corners=False)
        for m in stage_maps
    ]  # each [B, 96, H, W]
    at = (camera.image_index, *camera.pixel.long().unbind(1))

    def supervised(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return plain_segmentation_loss(logits, labels, class_weights, config.lovasz_weight)

    def on_pixels(head: torch.nn.Module, maps: list[torch.Tensor]) -> tuple:
        """Logits at the points, and the loss at every pixel or at the points."""
        features = torch.cat(maps, dim=1).permute(0, 2, 3, 1)  # [B, H, W, channels]
        if camera.pseudo_labels is None:
            logits = head.logits(F.relu(head.hidden(features[at])))
            return logits, supervised(logits, batch.labels[camera.point_index])
        logits = head.logits(F.relu(head.hidden(features)))
        return logits[at], supervised(logits.flatten(0, 2), camera.pseudo_labels.flatten())

    terms = dict.fromkeys(("student_heads", "teacher_heads", "distillation"), 0.0)
    for stage in config.stages:
        voxels = output.stages[stage - 1]
        logits = distiller.student_heads[str(stage)](voxels.features)
        inverse = voxels.segments.inverse.long()
        terms["student_heads"] += supervised(logits, majority(batch.labels, inverse, len(logits)))
        teacher, loss = on_pixels(distiller.teacher_heads[str(stage)], [resized[stage - 1]])
        terms["teacher_heads"] += loss / 4
        row = inverse[camera.point_index]
        seen, t = row >= 0, config.temperature
        divergence = F.kl_div(
            F.log_softmax(logits[row[seen]] / t, 1),
            F.softmax(teacher.detach()[seen] / t, 1),
            reduction="sum",
        ) / (seen.sum() * (20 if config.reduction == "mean" else 1))
        terms["distillation"] += 0.05 / 4 * divergence
    terms["multi_stage"] = on_pixels(distiller.multi_stage_head, resized)[1]
    terms["total"] = sum(terms.values())
    return terms


def plain_segmentation_loss(
    logits: torch.Tensor, labels: torch.Tensor, class_weights: torch.Tensor, lovasz_weight: float
) -> torch.Tensor:
    """Weighted cross-entropy plus Lovász-softmax over what is labelled."""
    kept = labels != 0
    if not kept.any():
        return logits.sum() * 0
    cross_entropy = F.cross_entropy(logits[kept], labels[kept], class_weights)
    return cross_entropy + lovasz_weight * lovasz_softmax(logits, labels)


def majority(labels: torch.Tensor, inverse: torch.Tensor, num_voxels: int) -> torch.Tensor:
    """The commonest label of each voxel, the smallest of equally common ones."""
    votes = labels.new_zeros(num_voxels, 20)
    inside = inverse >= 0
    votes.index_put_((inverse[inside], labels[inside]), votes.new_ones(()), accumulate=True)
    return votes.argmax(dim=1)
