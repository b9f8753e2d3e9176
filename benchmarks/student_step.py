"""One training step of the student alone, by this library and in the authors' formulation.

Forward pass, loss, backward pass, clipping, optimizer. The authors' loss is written with torch
alone: a sort for each class in Lovász-softmax.
"""

from __future__ import annotations

import torch
from precision import PRECISIONS
from student_forms import literal_form, random_student
from torch import Tensor
from workloads import scan_labels, scans

from elite.data import DatasetSpec, class_weights
from elite.losses import SegmentationLoss
from elite_ops.reference.lovasz_softmax import lovasz_softmax

__all__ = ["STEP_FORMS", "TrainingStep"]

STEP_FORMS = ("elite_ops", "spconv_rows", "spconv_keys", "torch_rows")
LOVASZ_WEIGHT = 0.1


class TrainingStep:
    """Called, it takes a step on the same batch of scans, and returns the loss.

    spconv has no bfloat16: where that is asked for, it computes in float16 (`info` says so).

    Raises:
        Missing: if a library is missing.
    """

    def __init__(self, name: str, device: torch.device, precision: str, batch_size: int) -> None:
        self.name, self.device, self.batch_size = name, device, batch_size
        computes_in = "fp16" if name.startswith("spconv") and precision == "bf16" else precision
        self.cast = precision != "fp32", PRECISIONS[computes_in].dtype
        self.workload, points, batch_index = scans(batch_size)
        labels = torch.cat([scan_labels(number) for number in range(batch_size)])
        self.points, self.batch_index = points.to(device), batch_index.to(device)
        self.labels = labels.to(device)
        weights = torch.from_numpy(class_weights(DatasetSpec.load("semantic_kitti").counts))
        weights[0] = 0
        self.weights = weights.to(device)
        student = random_student(device)
        self.info: dict[str, str | int] = {}
        if name == "elite_ops":
            self.network: torch.nn.Module = student.train()
            self.own_loss = SegmentationLoss(weights, LOVASZ_WEIGHT).to(device)
        else:
            self.network, self.info = literal_form(name, student.train())
        if computes_in != precision:
            self.info["computes_in"] = computes_in
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4
        )

    def __call__(self) -> float:
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()

    def loss(self) -> Tensor:
        """Of the batch; in float32 whatever the network computes in."""
        enabled, dtype = self.cast
        with torch.autocast(self.device.type, dtype, enabled=enabled):
            out = self.network(self.points, self.batch_index, self.batch_size)
        if self.name == "elite_ops":
            total: Tensor = self.own_loss(out.logits, self.labels.where(out.valid, 0)).total
            return total
        logits, valid = out
        return self._loss_of_torch(logits.float(), self.labels.where(valid, 0))

    def _loss_of_torch(self, logits: Tensor, labels: Tensor) -> Tensor:
        cross_entropy = torch.nn.functional.cross_entropy(
            logits, labels, self.weights, ignore_index=0
        )
        return cross_entropy + LOVASZ_WEIGHT * lovasz_softmax(logits, labels)

    def loss_and_gradients(self) -> tuple[float, dict[str, Tensor]]:
        """Gradients of the first and the last layer: all that lies between has its part in them."""
        loss = self.loss()
        loss.backward()
        first, last = "point_features.mlp.0.weight", "head.logits.weight"
        found = {n.removeprefix("student."): p.grad for n, p in self.network.named_parameters()}
        return loss.item(), {name: found[name] for name in (first, last)}
