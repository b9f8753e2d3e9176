"""Float products follow torch's setting of tf32, today's and the older one."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.gpu

# In a process of its own: torch refuses to mix the two ways of setting it.
CODE = """
import torch
from elite_ops import build_kernel_map, linear_fused, sparse_conv

{setting}
torch.manual_seed(0)
cells = torch.cartesian_prod(*[torch.arange(n) for n in (1, 6, 6, 4)]).int()
kernel_map = build_kernel_map(cells.to("{device}"), spatial_shape=(6, 6, 4), batch_size=1)


def error(dtype):
    def random(*shape):
        return torch.randn(*shape, dtype=torch.float64).to(dtype).to("{device}")

    features, weight = random(len(cells), 64).requires_grad_(), random(27, 64, 64).requires_grad_()

    def results(f, w):
        out = sparse_conv(f, w, kernel_map)
        grads = torch.autograd.grad(out.square().sum() / out.numel(), (f, w))
        with torch.no_grad():
            return [out, *grads, linear_fused(f, w[0])]

    exact = [t.detach().double().requires_grad_() for t in (features, weight)]
    pairs = zip(results(features, weight), results(*exact))
    return [float((got - want).abs().max() / want.abs().max()) for got, want in pairs]


for dtype in (torch.float32, torch.float16):
    print(*error(dtype))
"""


def errors(device: torch.device, setting: str, folder: Path) -> list[list[float]]:
    code = CODE.format(setting=setting, device=device.type)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return [[float(word) for word in line.split()] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "setting",
    [
        'torch.backends.cuda.matmul.fp32_precision = "tf32"',
        'torch.backends.fp32_precision = "tf32"',
        "torch.backends.cuda.matmul.allow_tf32 = True",
        'torch.set_float32_matmul_precision("high")',
    ],
)
def test_tf32_rounds_float_products(cuda: torch.device, tmp_path: Path, setting: str) -> None:
    of_float, of_half = errors(cuda, setting, tmp_path)
    assert all(1e-5 < error < 5e-3 for error in of_float), of_float
    assert all(1e-5 < error < 1e-2 for error in of_half), of_half


@pytest.mark.parametrize("setting", ["pass", 'torch.backends.cuda.matmul.fp32_precision = "ieee"'])
def test_without_it_float_products_are_float(
    cuda: torch.device, tmp_path: Path, setting: str
) -> None:
    of_float, _ = errors(cuda, setting, tmp_path)
    assert all(error < 2e-6 for error in of_float), of_float
