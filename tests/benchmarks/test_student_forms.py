"""Forms of the student that are compared: each computes the same, or says what is missing."""

from pathlib import Path

import pytest
import torch
from alone import memory_alone
from authors_parts import unique_keys, unique_rows
from bench_threads import WORK
from peers import Missing
from peers.checked import excused
from precision import rms_error
from student_forms import FORMS, agreement, build_form, random_student
from student_step import STEP_FORMS, TrainingStep
from torch.testing import assert_close
from workloads import scan

from elite.data import write_points

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("few_points")


@pytest.mark.parametrize("name", FORMS)
@torch.no_grad()
def test_every_form_is_the_student(name: str, two_threads: None, tmp_path: Path) -> None:
    points = scan()[1].clone()
    points[3, 0], points[4, 2] = 51.0, torch.nan  # outside the range
    batch_index = torch.zeros(len(points), dtype=torch.int64)
    wanted = random_student(CPU)(points, batch_index, 1)
    path = tmp_path / "scan.bin"
    write_points(path, points.numpy())
    with excused(name):  # what runs has to be right
        form = build_form(name, CPU)
        logits, valid = form.logits(points, batch_index)
        network = form.network(points, batch_index)() if form.network is not None else logits
        labels = torch.from_numpy(form.label_file(path))
    assert torch.get_num_threads() == 2
    assert torch.equal(valid, wanted.valid)
    assert 0 < int(valid.sum()) < len(points)
    assert_close(logits, wanted.logits, atol=1e-4, rtol=1e-4)
    inner = network[valid] if len(network) == len(points) else network
    assert_close(inner, wanted.logits[valid], atol=1e-4, rtol=1e-4)
    assert torch.equal(labels > 0, valid)
    assert agreement(logits, wanted.logits) > 0.99


@pytest.mark.parametrize("name", ["elite_ops", "elite_ops_captured", "torch_keys"])
@torch.no_grad()
def test_half_precision_agrees_for_the_most_part(name: str) -> None:
    points = scan()[1]
    batch_index = torch.zeros(len(points), dtype=torch.int64)
    wanted = random_student(CPU)(points, batch_index, 1)
    logits, valid = build_form(name, CPU, "bf16").logits(points, batch_index)
    assert torch.equal(valid, wanted.valid)
    logits, wanted_logits = logits[valid].float(), wanted.logits[valid]
    assert agreement(logits, wanted_logits) > 0.95
    assert rms_error(logits, wanted_logits.double()) > 1e-3  # float32's is below 1e-5


def test_packed_keys_are_rows() -> None:
    rows = torch.randint(0, 4, (500, 4))
    for a, b in zip(unique_rows(rows, (4, 4, 4)), unique_keys(rows, (4, 4, 4)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", STEP_FORMS)
def test_every_training_step_has_the_same_gradients(name: str) -> None:
    wanted, ours = TrainingStep("elite_ops", CPU, "fp32", batch_size=2).loss_and_gradients()
    with excused(name):  # what runs has to be right
        step = TrainingStep(name, CPU, "fp32", batch_size=2)
        loss, theirs = step.loss_and_gradients()
        first, second = step(), step()
    assert loss == pytest.approx(wanted, rel=1e-5)
    for layer, gradient in ours.items():
        limit = 1e-4 * float(gradient.abs().max())
        assert_close(theirs[layer], gradient, atol=limit, rtol=1e-3)
    assert second < first


def test_what_does_not_exist_is_missing() -> None:
    with pytest.raises(Missing, match="spconv has no bf16"):
        build_form("spconv_rows", CPU, "bf16")


def test_agreement_leaves_class_0_out() -> None:
    a = torch.tensor([[9.0, 1, 0], [0, 1, 0]])
    assert agreement(a, torch.tensor([[0.0, 2, 1], [0, 0, 1]])) == 0.5


def test_work_on_one_thread_and_two_can_be_repeated() -> None:
    for name, make in WORK.items():
        call = make()
        assert call() is not None, name
        call()


def told(memory: dict[str, int | str]) -> tuple[int, int]:
    """Bytes at the height of a call, and of the whole process."""
    if "memory" in memory:
        pytest.skip(f"memory {memory['memory']}")
    return memory["peak_mb"] << 20, memory["process_mb"] << 20


def test_labels_alone_need_no_less_than_the_features_of_a_convolution(many_points: int) -> None:
    """Those that it reads and those that it writes, of all voxels of the finest scale."""
    points = scan()[1]
    pyramid = random_student(CPU).pyramid(points, torch.zeros(many_points, dtype=torch.int64), 1)
    features = 2 * 64 * 4 * len(pyramid.levels[0].voxels.indices)
    assert features > 4 << 20  # enough to be resolved
    peak, process = told(memory_alone("labels", "elite_ops"))
    assert features < peak < process


def test_a_step_alone_needs_no_less_than_gradients_and_momentum() -> None:
    weights = sum(p.nbytes for p in random_student(CPU).parameters())
    peak, process = told(memory_alone("step", "elite_ops"))
    assert 2 * weights < peak < process


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="no_such_form"):
        memory_alone("labels", "no_such_form")
