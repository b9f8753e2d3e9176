"""The first signal of a new network: neither vanishing nor exploding, whatever the units."""

import torch

from elite.engine.initialize import initialize
from elite.student import Student, StudentConfig


def test_signals_keep_their_size_and_predictions_are_undecided() -> None:
    torch.manual_seed(0)
    student = Student(StudentConfig(scales=(1, 2, 4)))
    initialize(student)
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(4000, 4, generator=generator) * torch.tensor([15.0, 15.0, 0.8, 0.3])
    output = student(points, torch.zeros(len(points), dtype=torch.int64), 1)
    for stage in output.stages:
        assert 0.3 < stage.features.std() < 3
    assert 0 < output.logits[output.valid].std() < 0.5


def test_every_input_feature_is_heard() -> None:
    """A change by its usual size, in any of the ten features, changes the first layer alike."""
    torch.manual_seed(0)
    student = Student()
    initialize(student)
    usual = torch.tensor([16.7, 16.7, 1, 0.3, 0.03, 0.03, 0.03, 0.05, 0.05, 0.05])
    effect = (student.point_features.mlp[0].weight * usual).std(dim=0)
    assert effect.max() / effect.min() < 2
