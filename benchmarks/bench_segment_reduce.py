import pytest
import torch
from workloads import scan_voxels

import elite_ops
from elite_ops.compat import torch_scatter
from elite_ops.reference import segment_reduce as reference

CHANNELS = 64


def calls(name, inverse, num_voxels):
    """Our reduction over the CSR list, and the definition over the voxel of each point."""
    segments = elite_ops.build_segments(inverse, num_voxels)
    return {
        "elite_ops": lambda src: getattr(elite_ops, name)(src, segments),
        "reference": lambda src: getattr(reference, name)(src, inverse, num_voxels),
    }


@pytest.mark.benchmark(group="segment_reduce")
@pytest.mark.parametrize("implementation", ["elite_ops", "reference"])
@pytest.mark.parametrize("name", ["segment_sum", "segment_mean", "segment_max", "segment_min"])
def bench_forward(timed, device, implementation, name):
    workload, inverse, num_voxels = scan_voxels(voxel_size=0.1)
    reduce = calls(name, inverse.to(device), num_voxels)[implementation]
    src = torch.randn(len(inverse), CHANNELS, device=device)
    moved = src.nbytes + inverse.nbytes + 4 * num_voxels * CHANNELS
    timed(reduce, src, bytes_moved=moved, workload=workload, voxels=num_voxels, channels=CHANNELS)


@pytest.mark.benchmark(group="segment_reduce")
@pytest.mark.parametrize("implementation", ["elite_ops", "reference"])
@pytest.mark.parametrize("name", ["segment_sum", "segment_mean", "segment_max", "segment_min"])
def bench_backward(timed, device, implementation, name):
    workload, inverse, num_voxels = scan_voxels(voxel_size=0.1)
    reduce = calls(name, inverse.to(device), num_voxels)[implementation]
    src = torch.randn(len(inverse), CHANNELS, device=device, requires_grad=True)
    out = reduce(src)
    grad_out = torch.randn_like(out)
    timed(
        lambda: torch.autograd.grad(out, src, grad_out, retain_graph=True),
        bytes_moved=src.nbytes + inverse.nbytes + grad_out.nbytes,
        workload=workload,
        voxels=num_voxels,
        channels=CHANNELS,
    )


@pytest.mark.benchmark(group="segment_reduce")
@pytest.mark.parametrize("implementation", ["elite_ops", "reference"])
def bench_all_points_in_one_voxel(timed, device, implementation):
    workload, inverse, _ = scan_voxels(voxel_size=0.1)
    inverse = torch.zeros_like(inverse).to(device)
    src = torch.randn(len(inverse), CHANNELS, device=device)
    reduce = calls("segment_sum", inverse, 1)[implementation]
    timed(reduce, src, bytes_moved=src.nbytes + inverse.nbytes, workload=workload)


def from_index(name, index, num_voxels):
    """Contestants over the voxel of each point: int64, in any order, and no -1."""
    reduction = {"segment_mean": "mean", "segment_max": "amax"}[name]
    reduce = getattr(elite_ops, name)
    segments = elite_ops.Segments.from_coo(index, num_voxels)

    def scatter(src):
        out = src.new_zeros(num_voxels, src.shape[1])
        places = index[:, None].expand_as(src)
        return out.scatter_reduce(0, places, src, reduction, include_self=False)

    face = name.removeprefix("segment_")
    return {
        "elite_ops": lambda src: reduce(src, elite_ops.Segments.from_coo(index, num_voxels)),
        "elite_ops, segments made before": lambda src: reduce(src, segments),
        "compat.torch_scatter": lambda src: torch_scatter.scatter(src, index, 0, reduce=face),
        "torch": scatter,
    }


@pytest.mark.benchmark(group="segment_reduce from an index")
@pytest.mark.parametrize(
    "implementation",
    ["elite_ops", "elite_ops, segments made before", "compat.torch_scatter", "torch"],
)
@pytest.mark.parametrize("name", ["segment_mean", "segment_max"])
def bench_from_an_index(timed, device, implementation, name):
    """What torch_scatter's users have: rows and an index. The results are compared."""
    workload, inverse, num_voxels = scan_voxels(voxel_size=0.1)
    index = inverse[inverse >= 0].long().to(device)
    calls = from_index(name, index, num_voxels)
    src = torch.randn(len(index), CHANNELS, device=device)
    moved = src.nbytes + index.nbytes + 4 * num_voxels * CHANNELS
    out = timed(
        calls[implementation],
        src,
        bytes_moved=moved,
        workload=workload,
        voxels=num_voxels,
        channels=CHANNELS,
    )
    torch.testing.assert_close(out, calls["torch"](src))
