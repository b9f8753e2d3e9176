"""The student at a fixed capacity: the bits of the eager form, on the CPU and as a CUDA graph."""

import copy
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from clustered_scan import scan
from emulated_graph import Capture, emulate_graphs
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from elite.engine.point_labels import point_labels
from elite.student import Student, StudentConfig
from elite.student.captured import CapturedStudent
from elite.student.fused import FusedStudent
from elite_ops import on_cuda

SMALL = StudentConfig(channels=16, head_channels=16)
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(scope="module")
def weights() -> FusedStudent:
    torch.manual_seed(0)
    return Student(SMALL).eval().fused()


@pytest.fixture
def fused(weights: FusedStudent, device: torch.device) -> FusedStudent:
    return copy.deepcopy(weights).to(device)


def with_outsiders(points: Tensor) -> Tensor:
    """Every seventh point is outside the range, or no point at all."""
    points = points.clone()
    points[::14, 0] = 70.0
    points[7::14, 1] = torch.nan
    return points


def assert_equal_to_eager(
    captured: CapturedStudent, points: Tensor, batch_index: Tensor | None = None
) -> None:
    index = torch.zeros(len(points), dtype=torch.int64) if batch_index is None else batch_index
    index = index.to(points.device)
    labels = captured(points, None if batch_index is None else index)
    captured.check()
    logits, valid = captured.network(points, index, captured.batch_size)
    assert captured.logits.dtype == logits.dtype
    assert torch.equal(captured.logits, logits)
    assert torch.equal(captured.valid, valid)
    assert torch.equal(labels[valid], point_labels(logits, valid, points, index)[valid])
    assert not labels[~valid].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_scans_of_changing_size(
    fused: FusedStudent, device: torch.device, dtype: torch.dtype
) -> None:
    captured = fused.capture(900, dtype=dtype)
    for n in (500, 900, 1, 0, 33, 900):
        assert_equal_to_eager(captured, with_outsiders(scan(n, seed=n)).to(device))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_real_scan(
    fused: FusedStudent, device: torch.device, dtype: torch.dtype, real_points: Tensor
) -> None:
    points = real_points[::8].contiguous().to(device)
    assert_equal_to_eager(fused.capture(len(points) + 1000, dtype=dtype), points)


@pytest.mark.slow
def test_a_whole_real_scan_by_the_whole_student(device: torch.device, real_points: Tensor) -> None:
    torch.manual_seed(0)
    fused = Student().to(device).eval().fused()
    captured = fused.capture(len(real_points), dtype=torch.float32)
    assert_equal_to_eager(captured, real_points.to(device))


def test_batches(fused: FusedStudent, device: torch.device) -> None:
    captured = fused.capture(900, batch_size=3, dtype=torch.float32)
    points = with_outsiders(scan(700)).to(device)
    for samples in ([0, 1, 2], [0, 2], [1]):  # with empty samples
        index = torch.tensor(samples).repeat_interleave(700 // len(samples) + 1)[:700]
        assert_equal_to_eager(captured, points, index)
        assert_equal_to_eager(captured, points[:0], index[:0])


def test_no_point_inside(fused: FusedStudent, device: torch.device) -> None:
    captured = fused.capture(100, dtype=torch.float32)
    captured(scan(100).to(device))
    points = torch.full((60, 4), 70.0, device=device)
    assert not captured(points).any()
    assert not captured.valid.any()
    assert not captured.logits.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_are_masked_when_they_are_asked_for(
    fused: FusedStudent, device: torch.device, dtype: torch.dtype
) -> None:
    """Outside the range the network says something too, which is neither a label nor a logit."""
    captured = fused.capture(90, dtype=dtype)
    points = with_outsiders(scan(70)).to(device)
    labels = captured(points)
    raw = captured._logits[:70]
    assert raw[::7].any(1).all()
    assert captured.valid.tolist() == [i % 7 != 0 for i in range(70)]
    assert not captured.logits[::7].any()
    inside = captured.valid.nonzero()[:, 0]
    assert torch.equal(captured.logits[inside], raw[inside])
    assert torch.equal(labels[inside], raw[inside][:, 1:].double().argmax(1) + 1)
    again, kept = captured.logits, captured.logits.clone()
    captured(scan(90, seed=1).to(device))
    assert torch.equal(again, kept)  # a tensor of their own


def test_an_earlier_call_leaves_nothing_behind(fused: FusedStudent, device: torch.device) -> None:
    captured = fused.capture(900, dtype=torch.float32)
    points = scan(300).to(device)
    labels = captured(points)
    logits = captured.logits.clone()
    captured(scan(900, seed=1).to(device))
    again = captured(points)
    assert torch.equal(labels, again)
    assert torch.equal(captured.logits, logits)


def test_weights_are_those_of_the_moment(fused: FusedStudent, device: torch.device) -> None:
    captured = fused.capture(300, dtype=torch.float32)
    points = scan(300).to(device)
    labels = captured(points)
    for buffer in fused.buffers():
        buffer.zero_()
    assert torch.equal(captured(points), labels)


def test_fewer_voxels_than_points_can_have(fused: FusedStudent, device: torch.device) -> None:
    points = scan(800).to(device)
    index = torch.zeros(800, dtype=torch.int64, device=device)
    sizes = [len(level.voxels.indices) for level in fused.pyramid(points, index, 1).levels]
    captured = fused.capture(900, dtype=torch.float32, max_voxels=sizes)
    assert captured.capacity == sizes
    assert_equal_to_eager(captured, points)
    assert_equal_to_eager(fused.capture(900, dtype=torch.float32, max_voxels=max(sizes)), points)


@pytest.mark.cpu_kernels("of sizes alone, too large for an emulated capture")
def test_the_grid_bounds_the_voxels(weights: FusedStudent) -> None:
    assert weights.capture(1_000_000).capacity[3:] == [125 * 125 * 8, 63 * 63 * 4]
    assert weights.capture(1_000_000, batch_size=2).capacity[4] == 2 * 63 * 63 * 4


def test_more_voxels_than_that(fused: FusedStudent, device: torch.device) -> None:
    captured = fused.capture(900, dtype=torch.float32, max_voxels=40)
    points = scan(900).to(device)
    if not on_cuda(points):
        with pytest.raises(ValueError, match=r"`capacity` must hold the voxels .*, got 40"):
            captured(points)
    else:
        captured(points)
        with pytest.raises(IndexError, match="voxelize: `capacity` must hold the voxels"):
            captured.check()
    assert_equal_to_eager(captured, points[:30])


def test_a_wrong_batch_index(fused: FusedStudent, device: torch.device) -> None:
    captured = fused.capture(50, batch_size=2, dtype=torch.float32)
    points, index = scan(50).to(device), torch.arange(50, device=device) % 3
    if not on_cuda(points):
        with pytest.raises(IndexError, match=r"below `batch_size` \(2\), got 2 at row 2"):
            captured(points, index)
    else:
        captured(points, index)
        with pytest.raises(IndexError, match="voxelize: `batch_index` must be"):
            captured.check()
    assert_equal_to_eager(captured, points[:20], index[:20] % 2)


def test_rejects(weights: FusedStudent) -> None:
    captured = weights.capture(10)
    with pytest.raises(ValueError, match=r"at most `max_points` \(10\), got 11"):
        captured(scan(11))
    with pytest.raises(ValueError, match=r"`points` must be \[N, 4\], got shape \[5, 3\]"):
        captured(scan(5)[:, :3])
    with pytest.raises(ValueError, match="and only then; `batch_size` is 1"):
        captured(scan(5), torch.zeros(5, dtype=torch.int64))
    two = weights.capture(10, batch_size=2)
    with pytest.raises(ValueError, match="and only then; `batch_size` is 2"):
        two(scan(5))
    with pytest.raises(ValueError, match=r"`batch_index` must be \[5\], got shape \[4\]"):
        two(scan(5), torch.zeros(4, dtype=torch.int64))
    for arguments in ({"max_points": 0}, {"max_points": 5, "batch_size": 0}):
        with pytest.raises(ValueError, match="`max_points` and `batch_size` must be positive"):
            weights.capture(**arguments)
    for max_voxels in (0, (5, 5)):
        with pytest.raises(ValueError, match="one number or one for each of 5 scales, got"):
            weights.capture(10, max_voxels=max_voxels)


def test_sizes_come_from_the_capacity_alone(weights: FusedStudent) -> None:
    """On tensors without values, an op whose result has a size that depends on them is an error."""
    network = copy.deepcopy(weights).to("meta")
    capacity = weights.capture(300).capacity
    with FakeTensorMode(allow_non_fake_inputs=True):
        points = torch.empty(300, 4, device="meta")
        logits, valid = network(points, None, 1, capacity)
        assert logits.shape == (300, 20)
        assert valid.shape == (300,)
        with pytest.raises(DynamicOutputShapeException):
            network(points, None, 1)


class CountOps(TorchDispatchMode):
    """Counts the ops that compute something."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        namespace, name = func.name().split("::")
        if namespace == "elite_ops" or not (func.is_view or name.startswith("detach")):
            self.counts[name if namespace == "elite_ops" else namespace] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.cpu_kernels("of the CPU's transitions")
def test_how_many_calls_a_scan_costs(weights: FusedStudent) -> None:
    """docs/kernels.md states these numbers; on the CPU the transitions have matrices."""
    captured = weights.capture(300, dtype=torch.float32)
    captured(scan(300))
    with CountOps() as ops:
        captured._run()
    assert ops.counts.pop("build_transition") == 4
    assert ops.counts == {
        "voxelize": 1,
        "build_segments": 1,
        "encode_voxels": 1,
        "sparse_conv_fused": 16,
        "linear_fused": 33,
        "segment_mean": 4,
        "transition": 7,
        "add_rows": 4,
        "most_likely": 1,
    }


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[Capture]:
    """Has the student record graphs, of ops on the CPU."""
    monkeypatch.setattr("elite.student.captured.on_cuda", lambda _: True)
    return emulate_graphs(monkeypatch)


def test_a_capture_has_a_stream_of_its_own_device(
    weights: FusedStudent, captures: list[Capture]
) -> None:
    """torch's default for captures belongs to the first device that one was made on."""
    captured = weights.capture(300, dtype=torch.float32)
    (capture,) = captures
    assert capture.stream is not None
    assert capture.stream.device == captured.device
    assert capture.capture_error_mode == "thread_local"


def test_a_replay_computes_everything_again(weights: FusedStudent, captures: list[Capture]) -> None:
    captured = weights.capture(900, dtype=torch.float32)
    for n in (500, 900, 1, 0):
        assert_equal_to_eager(captured, with_outsiders(scan(n, seed=n)))
    assert len(captures) == 1
    assert captured._graph.replays == 4


@pytest.fixture
def no_synchronisation() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestGraph:
    def test_a_call_does_not_wait(self, weights: FusedStudent, request) -> None:
        captured = copy.deepcopy(weights).cuda().capture(900, batch_size=2)
        points, index = scan(700).cuda(), (torch.arange(700) % 2).cuda()
        request.getfixturevalue("no_synchronisation")
        captured(points, index)

    def test_two_objects_on_two_streams(self, weights: FusedStudent) -> None:
        fused = copy.deepcopy(weights).cuda()
        scans = [scan(900, seed=s).cuda() for s in range(6)]
        one = fused.capture(900)
        want = [one(points) for points in scans]
        students = [fused.capture(900) for _ in range(2)]
        streams = [torch.cuda.Stream() for _ in students]
        torch.cuda.synchronize()
        got = []
        for i, points in enumerate(scans):
            with torch.cuda.stream(streams[i % 2]):
                got.append(students[i % 2](points))
        torch.cuda.synchronize()
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))

    def test_one_object_on_two_streams(self, weights: FusedStudent) -> None:
        captured = copy.deepcopy(weights).cuda().capture(900)
        scans = [scan(900, seed=s).cuda() for s in range(6)]
        want = [captured(points) for points in scans]
        streams = [torch.cuda.Stream() for _ in range(2)]
        torch.cuda.synchronize()
        got = []
        for i, points in enumerate(scans):
            with torch.cuda.stream(streams[i % 2]):
                got.append(captured(points))
        torch.cuda.synchronize()
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))

    def test_points_in_pinned_memory(self, weights: FusedStudent, request) -> None:
        captured = copy.deepcopy(weights).cuda().capture(900)
        points = scan(900)
        want = captured(points.cuda())
        pinned = points.pin_memory()
        request.getfixturevalue("no_synchronisation")
        got = captured(pinned)
        torch.cuda.set_sync_debug_mode("default")
        assert torch.equal(got, want)
