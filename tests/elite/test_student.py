"""The student: its parameters, its checkpoints, and equality with an independent implementation."""

import pytest
import torch
from clustered_scan import scan
from plain_student import plain_student, random_reference_checkpoint
from torch.testing import assert_close

from elite.student import Student, StudentConfig
from elite.student.fused import FusedLinear, FusedResidualBlock
from elite_ops import cpu_memory


def inside(points: torch.Tensor) -> torch.Tensor:
    x, y, z = points[:, :3].T
    return (x.abs() < 50) & (y.abs() < 50) & (z > -4) & (z < 2)


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, torch.Tensor]:
    return random_reference_checkpoint(seed=0)


@pytest.fixture(scope="module")
def student(checkpoint: dict[str, torch.Tensor]) -> Student:
    return Student.from_reference_checkpoint(checkpoint).eval()


def test_parameter_count() -> None:
    student = Student()
    count = {name: sum(p.numel() for p in m.parameters()) for name, m in student.named_children()}
    assert count == {"point_features": 4_864, "blocks": 4 * 473_280, "head": 35_476}
    assert sum(count.values()) == 1_933_460


@torch.no_grad()
def test_equals_plain_implementation(student, checkpoint) -> None:
    points = torch.cat([scan(900, seed=1), scan(500, seed=2)])
    batch_index = torch.arange(2).repeat_interleave(torch.tensor([900, 500]))
    want, stages = plain_student(points, batch_index, checkpoint)
    out = student(points, batch_index)
    assert out.valid.all()
    assert_close(out.logits, want, atol=1e-4, rtol=1e-4)
    for got, stage in zip(out.stages, stages, strict=True):
        assert_close(got.features, stage, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
@torch.no_grad()
def test_equals_plain_implementation_on_a_real_scan(student, checkpoint, real_points) -> None:
    batch_index = torch.zeros(len(real_points), dtype=torch.int64)
    keep = inside(real_points)
    out = student(real_points, batch_index)
    want, _ = plain_student(real_points[keep], batch_index[keep], checkpoint)
    assert torch.equal(out.valid, keep)
    assert_close(out.logits[keep], want, atol=1e-4, rtol=1e-4)
    assert not out.logits[~keep].any()


@torch.no_grad()
def test_fused_form_equals_the_network(student) -> None:
    points = torch.cat([scan(900, seed=6), torch.full((1, 4), 70.0), scan(500, seed=7)])
    batch_index = torch.arange(2).repeat_interleave(torch.tensor([901, 500]))
    want = student(points, batch_index)
    logits, valid = student.fused()(points, batch_index, batch_size=2)
    assert torch.equal(valid, want.valid)
    assert_close(logits, want.logits, atol=1e-4, rtol=1e-4)


def test_fused_form_has_only_products_for_tensor_cores(student) -> None:
    """In 16 bits: input channels in multiples of 16, rows of weights in multiples of 16 bytes."""
    for module in student.fused().modules():
        if isinstance(module, FusedLinear):
            weights = [module.weight]
        elif isinstance(module, FusedResidualBlock):
            weights = [module.conv1, module.conv2, module.shortcut]
        else:
            continue
        assert [(w.shape[-2] % 16, w.shape[-1] % 8) for w in weights] == [(0, 0)] * len(weights)


@torch.no_grad()
@pytest.mark.parametrize("capacity", [None, [1500] * 5])
def test_labels_are_those_of_the_logits(student, capacity) -> None:
    """Also where points outside the range come last, and where no point is inside."""
    fused = student.fused()
    inside, outside = scan(900, seed=6), torch.full((3, 4), 70.0)
    for points in (torch.cat([outside, inside, outside]), outside):
        logits, valid = fused(points, None, capacity=capacity)
        labels = fused.labels(points, fused.pyramid(points, None, 1, capacity))
        assert torch.equal(labels, (logits[:, 1:].argmax(dim=1) + 1) * valid)


@pytest.mark.cpu_kernels("of the CPU's memory pool")
@torch.no_grad()
def test_scans_after_the_first_allocate_nothing(student) -> None:
    """Nothing of 64 KiB or more, which is what the system would have to clear."""
    fused = student.fused()
    scans = [scan(size, seed=size) for size in (9000, 8800, 8950)]
    counts = []
    for points in (*scans, *scans):
        fused.labels(points, fused.pyramid(points, None, 1))
        counts.append(cpu_memory().allocations)
    assert counts[0] > 0
    assert counts[2:] == [counts[2]] * 4


@torch.no_grad()
def test_fused_form_of_many_scales() -> None:
    torch.manual_seed(0)
    scales = (1, 2, 4, 8, 16, 32, 64, 128)
    student = Student(StudentConfig(channels=16, head_channels=16, scales=scales)).eval()
    points, batch_index = scan(500), torch.zeros(500, dtype=torch.int64)
    logits, _ = student.fused()(points, batch_index)
    assert_close(logits, student(points, batch_index).logits, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_fused_form_keeps_the_weights_of_its_moment(checkpoint) -> None:
    student = Student.from_reference_checkpoint(checkpoint).train()
    points, batch_index = scan(300), torch.zeros(300, dtype=torch.int64)
    fused = student.fused()
    assert all(module.training for module in student.modules())
    before, _ = fused(points, batch_index)
    for parameter in student.parameters():
        parameter.add_(1.0)
    assert torch.equal(fused(points, batch_index)[0], before)


@torch.no_grad()
def test_points_outside_change_nothing(student) -> None:
    points = scan(300)
    outside = torch.tensor([[60.0, 0, 0, 0.5], [0, 0, 2.0, 0.5], [float("nan"), 0, 0, 0]])
    batch_index = torch.zeros(303, dtype=torch.int64)
    alone = student(points, batch_index[:300])
    both = student(torch.cat([outside, points]), batch_index)
    assert both.valid.tolist() == [False] * 3 + [True] * 300
    assert torch.equal(both.logits[3:], alone.logits)
    assert not both.logits[:3].any()


@torch.no_grad()
def test_scans_of_a_batch_do_not_mix(student) -> None:
    a, b = scan(300, seed=3), scan(200, seed=4)
    index = torch.tensor([0] * 300 + [2] * 200)  # scan 1 is empty
    together = student(torch.cat([a, b]), index, batch_size=3)
    for points, rows in ((a, slice(0, 300)), (b, slice(300, 500))):
        alone = student(points, torch.zeros(len(points), dtype=torch.int64))
        assert_close(together.logits[rows], alone.logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_no_points(student) -> None:
    out = student(torch.empty(0, 4), torch.empty(0, dtype=torch.int64))
    assert out.logits.shape == (0, 20)
    assert out.valid.shape == (0,)


def test_gradients_equal_plain_autograd(checkpoint) -> None:
    """Every parameter's gradient, against autograd through the independent implementation."""
    student = Student.from_reference_checkpoint(checkpoint).eval()
    theirs = {k: v.clone().requires_grad_(v.is_floating_point()) for k, v in checkpoint.items()}
    points, batch_index = scan(400), torch.zeros(400, dtype=torch.int64)
    direction = torch.randn(400, 20, generator=torch.Generator().manual_seed(5))
    (plain_student(points, batch_index, theirs)[0] * direction).sum().backward()
    (student(points, batch_index).logits * direction).sum().backward()
    got = dict(student.named_parameters())
    conv = "blocks.2.voxel_branch.1.conv2.weight"
    want = theirs["spv_enc.2.v_enc.1.layers.3.weight"].grad.permute(3, 2, 1, 4, 0)
    assert_close(got[conv].grad, want, atol=1e-3, rtol=1e-3)
    shortcut = theirs["spv_enc.0.v_enc.0.layers_in.0.weight"].grad.reshape(64, 64).T
    assert_close(
        got["blocks.0.voxel_branch.0.shortcut.weight"].grad, shortcut, atol=1e-3, rtol=1e-3
    )
    for ours, name in {
        "point_features.mlp.0": "voxel_3d_generator.PPmodel.0",
        "blocks.0.point_branch.context.3": "spv_enc.0.p_enc.PPmodel.3",
        "blocks.3.point_branch.output.2": "spv_enc.3.p_enc.layer_out.2",
        "head.hidden": "classifier.0",
    }.items():
        assert_close(
            got[f"{ours}.weight"].grad, theirs[f"{name}.weight"].grad, atol=1e-3, rtol=1e-3
        )


class TestCheckpoint:
    def test_prefix_envelope_and_class_weights(self, checkpoint, tmp_path) -> None:
        state = {f"model_3d.{k}": v for k, v in checkpoint.items()}
        state |= {"model_2d.conv1.weight": torch.zeros(1), "fusion.0.bias": torch.zeros(1)}
        state["model_3d.criterion.ce_loss.weight"] = torch.zeros(20)
        torch.save({"state_dict": state, "epoch": 3}, tmp_path / "last.ckpt")
        loaded = Student.from_reference_checkpoint(tmp_path / "last.ckpt").state_dict()
        direct = Student.from_reference_checkpoint(checkpoint).state_dict()
        assert all(torch.equal(loaded[k], direct[k]) for k in direct)

    def test_older_layout(self, checkpoint) -> None:
        older = dict(checkpoint)
        for key, weight in checkpoint.items():
            if weight.dim() == 5 and weight.shape[1] == 3:
                older[key] = weight.permute(1, 2, 3, 4, 0).contiguous()
            elif weight.dim() == 5:
                older[key] = weight.reshape(1, 1, 1, 64, 64)
        a = Student.from_reference_checkpoint(older).state_dict()
        b = Student.from_reference_checkpoint(checkpoint).state_dict()
        assert all(torch.equal(a[k], b[k]) for k in b)

    def test_ambiguous_layout_needs_the_argument(self) -> None:
        config = StudentConfig(channels=3, num_classes=5)
        shape = dict(Student(config).state_dict())["blocks.0.voxel_branch.0.conv1.weight"].shape
        assert shape == (3, 3, 3, 3, 3)
        state = _as_reference(Student(config))
        with pytest.raises(ValueError, match="fits both layouts: name one by `layout`"):
            Student.from_reference_checkpoint(state, config)
        key = "spv_enc.0.v_enc.0.layers.0.weight"
        for layout, order in {"KRSC": (3, 2, 1, 4, 0), "RSCK": (2, 1, 0, 3, 4)}.items():
            loaded = Student.from_reference_checkpoint(state, config, layout=layout).state_dict()
            want = state[key].permute(order)
            assert torch.equal(loaded["blocks.0.voxel_branch.0.conv1.weight"], want)

    def test_names_every_key_that_does_not_fit(self, checkpoint) -> None:
        broken = dict(checkpoint) | {"spv_enc.9.extra": torch.zeros(1)}
        del broken["classifier.2.bias"]
        broken["spv_enc.1.v_enc.0.layers.3.weight"] = torch.zeros(64, 3, 3, 3, 32)
        with pytest.raises(ValueError, match="does not fit this student") as error:
            Student.from_reference_checkpoint(broken)
        message = str(error.value)
        assert "missing: classifier.2.bias" in message
        assert "unexpected: spv_enc.9.extra" in message
        assert "wrong shape: spv_enc.1.v_enc.0.layers.3.weight is [64, 3, 3, 3, 32]" in message

    def test_layout_is_checked(self, checkpoint) -> None:
        with pytest.raises(ValueError, match=r"`layout` must be one of .* got 'KCRS'"):
            Student.from_reference_checkpoint(checkpoint, layout="KCRS")


def _as_reference(student: Student) -> dict[str, torch.Tensor]:
    """A checkpoint with random values in the shapes that a small student asks for."""
    from elite.student.checkpoint import _their_key

    state = {}
    for key, value in student.state_dict().items():
        shape = (len(value), 1, 1, 1, -1) if key.endswith("shortcut.weight") else value.shape
        state[_their_key(key)] = torch.randn_like(value.reshape(shape), dtype=torch.float32)
    return state
