"""The student against spconv's own convolutions, where its CPU build is installed."""

import pytest
import torch
from plain_student import plain_student, random_reference_checkpoint
from torch.testing import assert_close

from elite.student import Student

spconv = pytest.importorskip("spconv.pytorch", reason="spconv is not installed")


@pytest.fixture
def one_thread():
    """spconv's CPU scatter has a data race: it is exact on one thread only."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def spconv_convolution(x: torch.Tensor, weight: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
    conv = spconv.SubMConv3d(weight.shape[4], weight.shape[0], 3, bias=False)
    conv.weight.data = weight
    indices = voxels[:, [0, 3, 2, 1]].int()  # batch, z, y, x
    shape = (indices[:, 1:].max(dim=0).values + 1).tolist()
    return conv(spconv.SparseConvTensor(x, indices, shape, int(indices[:, 0].max()) + 1)).features


@pytest.mark.slow
@torch.no_grad()
def test_equals_the_network_on_spconv(one_thread, real_points) -> None:
    checkpoint = random_reference_checkpoint(seed=3)
    student = Student.from_reference_checkpoint(checkpoint).eval()
    out = student(real_points, torch.zeros(len(real_points), dtype=torch.int64))
    points = real_points[out.valid]
    batch_index = torch.zeros(len(points), dtype=torch.int64)
    want, _ = plain_student(points, batch_index, checkpoint, spconv_convolution)
    assert_close(out.logits[out.valid], want, atol=1e-4, rtol=1e-4)
