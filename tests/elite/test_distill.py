"""Distillation against a plain twin of the paper's formulas, and where there is little to learn."""

from dataclasses import fields, replace

import pytest
import torch
from distill_cases import make_batch, make_distiller, make_maps, make_output
from plain_distill import plain_distillation
from torch.testing import assert_close

from elite.distill import DistillConfig, Distiller, heads
from elite.distill.heads import PatchHead
from elite_ops import build_segments


def leaves(distiller: Distiller, output, maps) -> list[torch.Tensor]:
    return [*distiller.parameters(), *(stage.features for stage in output.stages), *maps]


def num_parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_those_of_the_paper() -> None:
    distiller = make_distiller()
    assert num_parameters(distiller.student_heads) == 43_600
    assert num_parameters(distiller.teacher_heads) == 89_936
    assert num_parameters(distiller.multi_stage_head) == 77_780
    assert num_parameters(distiller) == 43_600 + 89_936 + 77_780


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(
    "config",
    [
        DistillConfig(),
        DistillConfig(temperature=2.0, reduction="batchmean", lovasz_weight=0.5),
        DistillConfig(stages=(2, 4)),
    ],
    ids=["paper", "options", "stages"],
)
def test_losses_and_gradients_equal_the_plain_twin(config: DistillConfig, dense: bool) -> None:
    distiller, batch = make_distiller(config), make_batch(dense=dense)
    output, maps = make_output(batch), make_maps()
    terms = distiller(output, maps, batch)
    expected = plain_distillation(distiller, output, maps, batch)
    for term in fields(terms):
        assert_close(getattr(terms, term.name), expected[term.name], rtol=1e-4, atol=1e-6)
    assert min(value.item() for value in expected.values()) > 0

    inputs = leaves(distiller, output, maps)
    got = torch.autograd.grad(terms.total, inputs, allow_unused=True)
    want = torch.autograd.grad(expected["total"], inputs, allow_unused=True)
    for a, b in zip(got, want, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_portions_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    distiller, batch = make_distiller(), make_batch(dense=True)
    output, maps = make_output(batch), make_maps()
    whole = distiller(output, maps, batch).total
    gradients = torch.autograd.grad(whole, leaves(distiller, output, maps))
    monkeypatch.setattr(heads, "PIXELS_AT_ONCE", 100)
    portions = distiller(output, maps, batch).total
    assert_close(portions, whole)
    for a, b in zip(
        torch.autograd.grad(portions, leaves(distiller, output, maps)), gradients, strict=True
    ):
        assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_first_layer_commutes_with_the_resize() -> None:
    head = PatchHead(96, 2, 192, 20)
    maps = make_maps()[:2]
    rows, columns = torch.meshgrid(torch.arange(24), torch.arange(40), indexing="ij")
    pixel = torch.stack([rows.ravel(), columns.ravel()], 1).int()
    image_index = torch.ones(len(pixel), dtype=torch.int64)
    got = head.read(head.hidden_map(maps), pixel, image_index, (24, 40))
    resized = [torch.nn.functional.interpolate(m, (24, 40), mode="bilinear") for m in maps]
    features = torch.cat(resized, 1)[1].flatten(1).T
    assert_close(got, head.logits(head.hidden(features).relu()), rtol=1e-4, atol=1e-5)


def test_the_teacher_is_not_drawn_towards_the_student() -> None:
    distiller, batch = make_distiller(), make_batch()
    output, maps = make_output(batch), make_maps()
    distillation = distiller(output, maps, batch).distillation
    gradients = torch.autograd.grad(
        distillation, leaves(distiller, output, maps), allow_unused=True
    )
    heads_of_teacher = len(list(distiller.teacher_heads.parameters()))
    reached = [g is not None and bool(g.any()) for g in gradients]
    student = len(list(distiller.student_heads.parameters()))
    assert all(reached[:student])
    assert not any(reached[student : student + heads_of_teacher])
    assert all(reached[-8:-4])
    assert not any(reached[-4:])


def test_the_student_learns_the_commonest_label_of_each_voxel() -> None:
    """One voxel with labels 5, 5, 7 learns 5, another with 7, 7, 0 learns 7."""
    distiller, batch = make_distiller(), make_batch(6, 0)
    output = make_output(batch)
    batch.labels = torch.tensor([5, 5, 7, 7, 7, 0])
    stage = output.stages[0]
    inverse = torch.tensor([0, 0, 0, 1, 1, 1], dtype=torch.int32)
    features = torch.randn(2, 64)
    output.stages = [replace(stage, features=features, segments=build_segments(inverse, 2))] * 4
    term = distiller(output, make_maps(), batch).student_heads
    logits = [head(features) for head in distiller.student_heads.values()]
    expected = sum(distiller.loss(each, torch.tensor([5, 7])).total for each in logits)
    assert_close(term, expected)


def test_weights_scale_their_terms() -> None:
    batch = make_batch(dense=True)
    output, maps = make_output(batch), make_maps()
    paper = make_distiller()(output, maps, batch)
    changed = DistillConfig(
        student_weight=2.0, teacher_weight=3.0, distillation_weight=0.2, multi_stage_weight=5.0
    )
    terms = make_distiller(changed)(output, maps, batch)
    for name, factor in (
        ("student_heads", 2),
        ("teacher_heads", 3),
        ("distillation", 4),
        ("multi_stage", 5),
    ):
        assert_close(getattr(terms, name), factor * getattr(paper, name))
    assert_close(
        terms.total,
        terms.student_heads + terms.teacher_heads + terms.distillation + terms.multi_stage,
    )


def test_the_mean_over_classes_is_a_twentieth_of_the_divergence() -> None:
    batch = make_batch()
    output, maps = make_output(batch), make_maps()
    mean = make_distiller()(output, maps, batch).distillation
    per_point = make_distiller(DistillConfig(reduction="batchmean"))(output, maps, batch)
    assert_close(20 * mean, per_point.distillation)


def test_stages_and_heads_that_are_left_out_have_no_parameters() -> None:
    distiller = make_distiller(DistillConfig(stages=(3,), multi_stage_weight=0.0))
    assert num_parameters(distiller) == (43_600 + 89_936) // 4
    batch = make_batch()
    terms = distiller(make_output(batch), make_maps()[2:3], batch)
    assert terms.multi_stage == 0
    assert terms.total > 0


def test_every_other_pixel_of_dense_labels() -> None:
    batch = make_batch(dense=True)
    output, maps = make_output(batch), make_maps()
    coarse = make_distiller(DistillConfig(pixel_stride=2))(output, maps, batch)
    thinned = torch.zeros_like(batch.camera.pseudo_labels)
    thinned[:, ::2, ::2] = batch.camera.pseudo_labels[:, ::2, ::2]
    batch.camera.pseudo_labels = thinned
    assert_close(coarse.total, make_distiller()(output, maps, batch).total)


# ---- little or nothing to learn ------------------------------------------------------------------


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("num_shown", [0, 1])
def test_few_projected_points(num_shown: int, dense: bool) -> None:
    distiller, batch = make_distiller(), make_batch(num_shown=num_shown, dense=dense)
    output, maps = make_output(batch), make_maps()
    terms = distiller(output, maps, batch)
    terms.total.backward()
    assert terms.total.isfinite()
    for tensor in leaves(distiller, output, maps):
        assert tensor.grad is not None  # as distributed training needs it
        assert tensor.grad.isfinite().all()


@pytest.mark.parametrize("dense", [False, True])
def test_nothing_labelled_leaves_only_the_divergence(dense: bool) -> None:
    distiller, batch = make_distiller(), make_batch(dense=dense)
    batch.labels.zero_()
    if dense:
        batch.camera.pseudo_labels.zero_()
    output, maps = make_output(batch), make_maps()
    terms = distiller(output, maps, batch)
    terms.total.backward()
    assert terms.student_heads == terms.teacher_heads == terms.multi_stage == 0
    assert terms.distillation > 0
    assert all(t.grad.isfinite().all() for t in leaves(distiller, output, maps))


def test_without_a_camera_only_the_students_heads_learn() -> None:
    distiller, batch = make_distiller(), make_batch()
    output = make_output(batch)
    batch.camera = None
    terms = distiller(output, [], batch)
    assert terms.teacher_heads == terms.distillation == terms.multi_stage == 0
    assert_close(terms.total, terms.student_heads)


def test_losses_are_float32_under_autocast() -> None:
    distiller, batch = make_distiller(), make_batch(dense=True)
    output, maps = make_output(batch), make_maps()
    exact = distiller(output, maps, batch)
    with torch.autocast("cpu", torch.bfloat16):
        terms = distiller(output, maps, batch)
    for term in fields(terms):
        assert getattr(terms, term.name).dtype == torch.float32
    assert_close(terms.total, exact.total, rtol=0.02, atol=0)
    terms.total.backward()


def test_what_is_refused() -> None:
    for stages in ((0, 1), (2, 1), (2, 2)):
        with pytest.raises(ValueError, match=r"`stages` must be of 1\.\.4 and rise, got"):
            make_distiller(DistillConfig(stages=stages))
    with pytest.raises(ValueError, match="`pixel_stride` must be 1 or more, got 0"):
        make_distiller(DistillConfig(pixel_stride=0))
    distiller, batch = make_distiller(), make_batch()
    output = make_output(batch)
    with pytest.raises(ValueError, match="`stage_maps` must be 4, got 3"):
        distiller(output, make_maps()[:3], batch)
    with pytest.raises(ValueError, match="`batch` must have labels"):
        distiller(output, make_maps(), replace(batch, labels=None))
