import pytest
import torch
from workloads import POINT_CLOUD_RANGE, SPATIAL_SHAPE, scan

from elite_ops import build_kernel_map, sparse_conv, voxelize
from elite_ops.reference.sparse_conv import sparse_conv as reference

IMPLEMENTATIONS = {"elite_ops": sparse_conv, "reference": reference}
CHANNELS = 64
CUDA_DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def workload(device, dtype):
    """Features and weight of a 3 x 3 x 3 convolution on the 0.1 m voxels of a scan, and its map."""
    name, points = scan()
    (voxels,) = voxelize(
        points.to(device), point_cloud_range=POINT_CLOUD_RANGE, spatial_shape=SPATIAL_SHAPE
    )
    kernel_map = build_kernel_map(voxels.indices, spatial_shape=SPATIAL_SHAPE, batch_size=1)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(kernel_map.num_in, CHANNELS, generator=generator)
    weight = torch.randn(27, CHANNELS, CHANNELS, generator=generator) / 40
    pairs = int((kernel_map.neighbors >= 0).sum())
    info = {"workload": name, "voxels": kernel_map.num_in, "pairs": pairs, "dtype": str(dtype)}
    flop = 2 * pairs * CHANNELS * CHANNELS
    return features.to(device, dtype), weight.to(device, dtype), kernel_map, flop, info


@pytest.mark.benchmark(group="sparse_conv forward")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", CUDA_DTYPES)
def bench_forward(timed, device, implementation, dtype):
    if device.type == "cpu" and dtype != torch.float32:
        pytest.skip("the CPU computes in float32")
    features, weight, kernel_map, flop, info = workload(device, dtype)
    timed(IMPLEMENTATIONS[implementation], features, weight, kernel_map, flop=flop, **info)


@pytest.mark.benchmark(group="sparse_conv forward and backward")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("dtype", CUDA_DTYPES)
def bench_forward_backward(timed, device, implementation, dtype):
    if device.type == "cpu" and dtype != torch.float32:
        pytest.skip("the CPU computes in float32")
    features, weight, kernel_map, flop, info = workload(device, dtype)
    inputs = features.requires_grad_(), weight.requires_grad_()
    grad_out = torch.randn_like(features)

    def step():
        out = IMPLEMENTATIONS[implementation](*inputs, kernel_map)
        return torch.autograd.grad(out, inputs, grad_out)

    timed(step, flop=3 * flop, **info)
