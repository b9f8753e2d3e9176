import pytest
import torch
from workloads import scan

from elite_ops import patch_to_point, project_points
from elite_ops.reference.patch_to_point import patch_to_point as reference

IMPLEMENTATIONS = {"elite_ops": patch_to_point, "reference": reference}
LAYOUTS = {"planes": torch.contiguous_format, "channels_last": torch.channels_last}
PATCHES = (96, 80, 256)  # channels, rows, columns: stride 4
IMAGE_SIZE = (320, 1024)

# A camera of that image size that looks ahead: x forward, y left, z up; focal length 707 pixels.
CAMERA = torch.tensor([[512.0, -707.0, 0.0, 0.0], [135.0, 0.0, -707.0, 0.0], [1.0, 0.0, 0.0, 0.0]])


@pytest.fixture
def workload(device):
    name, points = scan()
    pixel, valid = project_points(points, CAMERA, IMAGE_SIZE)
    pixel = pixel[valid].to(device)
    features = torch.randn(1, *PATCHES, device=device, requires_grad=True)
    return name, features, pixel, torch.zeros(len(pixel), dtype=torch.int64, device=device)


def intermediate_bytes(implementation: str, features: torch.Tensor) -> int:
    """What one call makes beside its result: the reference, the map resized to the image."""
    if implementation == "elite_ops":
        return 0
    return features.shape[1] * IMAGE_SIZE[0] * IMAGE_SIZE[1] * features.element_size()


@pytest.mark.benchmark(group="patch_to_point")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_forward(timed, workload, implementation, layout):
    name, features, *pixels = workload
    features = features.detach().to(memory_format=LAYOUTS[layout])
    fn = IMPLEMENTATIONS[implementation]
    timed(
        *(fn, features, *pixels, IMAGE_SIZE),
        bytes_moved=features.nbytes + 4 * len(pixels[0]) * PATCHES[0],
        workload=name,
        points=len(pixels[0]),
        intermediate_bytes=intermediate_bytes(implementation, features),
    )


@pytest.mark.benchmark(group="patch_to_point forward and backward")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def bench_forward_and_backward(timed, workload, implementation, layout):
    name, features, *pixels = workload
    features = features.detach().to(memory_format=LAYOUTS[layout]).requires_grad_()
    grad_out = torch.randn(len(pixels[0]), PATCHES[0], device=features.device)

    def step() -> torch.Tensor:
        out = IMPLEMENTATIONS[implementation](features, *pixels, IMAGE_SIZE)
        return torch.autograd.grad(out, features, grad_out)[0]

    timed(
        step,
        bytes_moved=2 * (features.nbytes + grad_out.nbytes),
        workload=name,
        points=len(pixels[0]),
        intermediate_bytes=2 * intermediate_bytes(implementation, features),
    )
