import pytest
import torch
from immediate import immediate
from torch import Tensor
from torch.library import opcheck

from elite_ops import nms
from elite_ops.reference.nms import nms as reference

SIZES = [0, 1, 2, 31, 33, 64, 65, 1023]


def inputs(
    n: int, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Boxes in pixels of an image, every third near the one before, every ninth without area."""
    generator = torch.Generator().manual_seed(n)
    corner = 150 * torch.rand(n, 2, generator=generator)
    size = 50 * torch.rand(n, 2, generator=generator)
    corner[2::3] = corner[1::3][: len(corner[2::3])] + 1
    size[2::3] = size[1::3][: len(size[2::3])]
    size[::9, 0] = 0
    boxes = torch.cat([corner, corner + size], dim=1)
    scores = torch.rand(n, generator=generator)
    return boxes.to(device, dtype), scores.to(device, dtype)


def definition(boxes: Tensor, scores: Tensor, iou_threshold: float) -> list[int]:
    """Two loops in double precision."""
    corners, values = boxes.double().tolist(), scores.double().tolist()

    def overlap(i: int, j: int) -> float:
        (a1, b1, a2, b2), (c1, d1, c2, d2) = corners[i], corners[j]
        intersection = max(0.0, min(a2, c2) - max(a1, c1)) * max(0.0, min(b2, d2) - max(b1, d1))
        union = (a2 - a1) * (b2 - b1) + (c2 - c1) * (d2 - d1) - intersection
        return intersection / union if union else 0.0

    kept: list[int] = []
    for row in sorted(range(len(values)), key=lambda i: -values[i]):
        if all(overlap(row, other) <= iou_threshold for other in kept):
            kept.append(row)
    return kept


def test_by_hand(device):
    boxes = torch.tensor(
        [
            [0.0, 0, 10, 10],
            [0, 0, 10, 7.5],  # 0.75 of the first
            [0, 0, 10, 5],  # 0.5 of the first, 2/3 of the second
            [20, 20, 30, 30],
        ],
        device=device,
    )
    scores = torch.tensor([0.5, 0.9, 0.4, 0.6], device=device)
    assert nms(boxes, scores, 0.75).tolist() == [1, 3, 0, 2]  # equal is not more
    assert nms(boxes, scores, 0.7).tolist() == [1, 3, 2]
    assert nms(boxes, scores, 0.6).tolist() == [1, 3]
    # The first box is suppressed itself, so it doesn't suppress the third.
    assert nms(boxes, torch.tensor([0.8, 0.9, 0.4, 0.6], device=device), 0.7).tolist() == [1, 3, 2]


@pytest.mark.parametrize("iou_threshold", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("n", SIZES)
def test_equals_the_definition(device, n, iou_threshold):
    boxes, scores = inputs(n, torch.float64, device)
    assert nms(boxes, scores, iou_threshold).tolist() == definition(boxes, scores, iou_threshold)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("n", SIZES)
def test_equals_reference(device, n, dtype):
    boxes, scores = inputs(n, dtype, device)
    got = nms(boxes, scores, 0.6)
    assert got.dtype == torch.int64
    assert torch.equal(got, reference(boxes, scores, 0.6))


def test_equal_scores_keep_the_lower_row(device):
    boxes, scores = inputs(200, device=device)
    boxes[100:] = boxes[:100]
    scores = (4 * scores).floor()
    kept = nms(boxes, scores, 0.5)
    assert torch.equal(kept, reference(boxes, scores, 0.5))
    assert nms(boxes[1:2].expand(50, 4), torch.ones(50, device=device), 0.5).tolist() == [0]
    signed_zeros = torch.tensor([0.0, -0.0, 0.0], device=device)
    assert nms(boxes[:3].new_zeros(3, 4), signed_zeros, 0.5).tolist() == [0, 1, 2]


def test_negative_and_infinite_scores(device):
    boxes, _ = inputs(6, device=device)
    scores = torch.tensor([-1.0, torch.inf, -torch.inf, 0.0, 3.0, -2.0], device=device)
    assert nms(boxes, scores, 1.0).tolist() == [1, 4, 3, 0, 5, 2]


def test_boxes_without_area_are_kept(device):
    boxes = torch.tensor([[5.0, 5, 5, 5], [5, 5, 5, 5], [0, 0, 9, 9]], device=device)
    scores = torch.tensor([0.3, 0.2, 0.1], device=device)
    assert nms(boxes, scores, 0.0).tolist() == [0, 1, 2]


def test_threshold_is_compared_in_double_precision(device):
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 0.75]], device=device)
    scores = torch.tensor([0.9, 0.8], device=device)
    assert nms(boxes, scores, 0.75).tolist() == [0, 1]
    assert nms(boxes, scores, 0.75 + 1e-12).tolist() == [0, 1]
    assert nms(boxes, scores, 0.75 - 1e-12).tolist() == [0]


def test_kept_boxes_do_not_overlap_and_explain_the_others(device):
    boxes, scores = inputs(500, torch.float64, device)
    kept = nms(boxes, scores, 0.5)
    assert definition(boxes[kept], scores[kept], 0.5) == list(range(len(kept)))
    assert torch.equal(nms(boxes[kept], scores[kept], 0.5), torch.arange(len(kept), device=device))
    assert (scores[kept].diff() <= 0).all()


def test_many_blocks(device):
    # A chain in which each box overlaps its neighbours only. On CUDA, one block of 256 threads
    # decides on more than 256 groups of 64 boxes.
    n = 17_000
    left = torch.arange(n, device=device, dtype=torch.float32)
    boxes = torch.stack([left, torch.zeros_like(left), left + 2, torch.ones_like(left)], dim=1)
    assert torch.equal(nms(boxes, -left, 0.2), torch.arange(0, n, 2, device=device))


@pytest.mark.parametrize("n", [0, 40])
def test_opcheck(device, n):
    opcheck(torch.ops.elite_ops.nms.default, (*inputs(n, device=device), 0.5))


@torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True)
def test_compiles_without_a_graph_break(device):
    def kept_boxes(boxes: Tensor, scores: Tensor) -> Tensor:
        return boxes[nms(boxes, scores, 0.5)] * 2

    boxes, scores = inputs(100, device=device)
    compiled = torch.compile(kept_boxes, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(boxes, scores), kept_boxes(boxes, scores))


def test_non_contiguous(device):
    boxes, scores = inputs(100, device=device)
    want = nms(boxes, scores, 0.5)
    assert torch.equal(nms(boxes.T.contiguous().T, scores, 0.5), want)
    assert torch.equal(nms(boxes, torch.stack([scores, scores], 1)[:, 0], 0.5), want)


BOXES, SCORES = torch.zeros(3, 4), torch.zeros(3)
NAN_BOXES, NAN_SCORES = BOXES.clone(), SCORES.clone()
NAN_BOXES[1, 2] = NAN_SCORES[2] = torch.nan
REJECTED = [
    (BOXES[0], SCORES, 0.5, ValueError, r"`boxes` must have 2 dimensions, got shape \[4\]"),
    (BOXES, BOXES, 0.5, ValueError, r"`scores` must have 1 dimensions"),
    (BOXES[:, :3], SCORES, 0.5, ValueError, r"`boxes` must have size 4 in dimension 1"),
    (BOXES, SCORES[:2], 0.5, ValueError, r"`scores` must have size 3 in dimension 0"),
    (BOXES.int(), SCORES, 0.5, TypeError, r"`boxes` must be float32, .* got Int"),
    (BOXES, SCORES.double(), 0.5, TypeError, r"`scores` must be Float, got Double"),
    (BOXES, SCORES, 1.5, ValueError, r"`iou_threshold` must lie in \[0, 1\], got 1.5"),
    (BOXES, SCORES, -0.1, ValueError, r"`iou_threshold` must lie in \[0, 1\], got -0.1"),
    (BOXES, SCORES, float("nan"), ValueError, r"`iou_threshold` must lie in \[0, 1\], got nan"),
    immediate(NAN_BOXES, SCORES, 0.5, ValueError, r"`boxes` must not hold a NaN, got one in row 1"),
    immediate(
        BOXES, NAN_SCORES, 0.5, ValueError, r"`scores` must not hold a NaN, got one in row 2"
    ),
]


@pytest.mark.parametrize(("boxes", "scores", "iou_threshold", "error", "message"), REJECTED)
def test_rejects(boxes, scores, iou_threshold, error, message):
    with pytest.raises(error, match=r"nms: " + message):
        nms(boxes, scores, iou_threshold)


@pytest.mark.gpu
def test_nan_on_cuda(cuda):
    boxes, scores = NAN_BOXES.to(cuda), NAN_SCORES.to(cuda)
    assert nms(boxes, scores, 0.5).tolist() == [0, 1, 2]
    assert nms(boxes, NAN_SCORES.roll(1).to(cuda), 0.5).tolist() == [1, 2, 0]
