"""The supervised loss against hand-computed values, and where there is nothing to learn."""

import math

import pytest
import torch

from elite.losses import SegmentationLoss


def test_cross_entropy_by_hand() -> None:
    """Two labelled points: weights 1 and 3, probabilities 1/2 and 1/4."""
    loss = SegmentationLoss(torch.tensor([0.0, 1.0, 3.0]), lovasz_weight=0.0)
    logits = torch.tensor([[0.0, 2.0, 1.0], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]).log()
    logits[0] = 0.0
    terms = loss(logits, torch.tensor([0, 2, 1]))
    expected = (3 * math.log(4) + 1 * math.log(2)) / 4
    assert terms.cross_entropy.item() == pytest.approx(expected)
    assert terms.total.item() == pytest.approx(expected)


def test_lovasz_is_added_with_its_weight() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 20), torch.randint(0, 20, (50,))
    terms = SegmentationLoss(torch.ones(20), lovasz_weight=0.25)(logits, labels)
    assert terms.lovasz > 0
    assert terms.total.item() == pytest.approx((terms.cross_entropy + 0.25 * terms.lovasz).item())


@pytest.mark.parametrize("labels", [[], [0], [0, 0, 0]])
def test_nothing_labelled_is_a_loss_and_a_gradient_of_zero(labels: list[int]) -> None:
    logits = torch.randn(len(labels), 20, requires_grad=True)
    terms = SegmentationLoss(torch.ones(20))(logits, torch.tensor(labels, dtype=torch.int64))
    terms.total.backward()
    assert terms.total.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_one_labelled_point_is_enough() -> None:
    logits = torch.zeros(1, 20, requires_grad=True)
    terms = SegmentationLoss(torch.ones(20))(logits, torch.tensor([5]))
    terms.total.backward()
    assert terms.cross_entropy.item() == pytest.approx(math.log(20))
    assert logits.grad.isfinite().all()


def test_a_labelled_class_of_weight_zero_is_not_learned() -> None:
    weights = torch.ones(20)
    weights[0] = weights[5] = 0
    terms = SegmentationLoss(weights)(torch.randn(3, 20), torch.tensor([5, 5, 0]))
    assert terms.cross_entropy.item() == 0


def test_half_precision_logits_are_computed_in_float32() -> None:
    logits = torch.randn(10, 20)
    loss = SegmentationLoss(torch.ones(20))
    labels = torch.randint(1, 20, (10,))
    half = loss(logits.half(), labels).total
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(logits.half().float(), labels).total.item())


def test_ignored_points_do_not_thin_the_mean_whatever_their_weight() -> None:
    logits, labels = torch.randn(10, 20), torch.tensor([0, 3] * 5)
    ones = SegmentationLoss(torch.ones(20))(logits, labels)
    labelled = torch.nn.functional.cross_entropy(logits[1::2], labels[1::2])
    torch.testing.assert_close(ones.cross_entropy, labelled)
