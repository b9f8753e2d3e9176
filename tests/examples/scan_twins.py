"""Examples beside networks that users write for other libraries: weights, results, training."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from elite_ops.nn.convolution import SparseConvolution

Named = dict[str, Tensor]
Layout = Callable[[nn.Module, Named], Named]


def convolutions(network: nn.Module) -> dict[str, SparseConvolution]:
    return {n: m for n, m in network.named_modules() if isinstance(m, SparseConvolution)}


def as_spconv(network: nn.Module, named: Named) -> Named:
    """Weights, or their gradients, as spconv 2.x has them: [C_out, *kernel_size, C_in]."""
    weights = {f"{name}.weight" for name in convolutions(network)}
    return {n: t.movedim(-1, 0) if n in weights else t for n, t in named.items()}


def as_torchsparse(network: nn.Module, named: Named) -> Named:
    """[K, C_in, C_out], named kernel; x is the fastest axis of an odd number of offsets, else z."""
    found = dict(named)
    for name in convolutions(network):
        weight = found.pop(f"{name}.weight")
        if math.prod(weight.shape[:3]) % 2 == 1:
            weight = weight.permute(2, 1, 0, 3, 4)
        kernel = weight.flatten(0, 2)
        found[f"{name}.kernel"] = kernel[0] if len(kernel) == 1 else kernel
    return found


def load(twin: nn.Module, network: nn.Module, layout: Layout) -> None:
    """The twin gets the network's weights, by name; a missing or unknown name raises."""
    twin.load_state_dict(layout(network, network.state_dict()))


def gradients(network: nn.Module, out: Tensor) -> Named:
    """Of all parameters, for a loss that tells all outputs apart."""
    generator = torch.Generator().manual_seed(3)
    factors = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)
    names, parameters = zip(*network.named_parameters(), strict=True)
    found = torch.autograd.grad((out * factors).sum(), parameters)
    return dict(zip(names, found, strict=True))


def assert_same_gradients(
    network: nn.Module,
    out: Tensor,
    twin: nn.Module,
    twin_out: Tensor,
    layout: Layout,
    tolerance: float = 1e-9,
) -> None:
    """Of all parameters, by name, to a part of the largest gradient."""
    got, want = layout(network, gradients(network, out)), gradients(twin, twin_out)
    assert got.keys() == want.keys()
    largest = max(float(g.abs().max()) for g in want.values())
    assert largest > 0
    for name, wanted in want.items():
        assert_close(got[name], wanted, rtol=tolerance, atol=tolerance * largest, msg=name)


def make_interesting(network: nn.Module) -> None:
    """Running statistics and affine weights of norms as after training."""
    generator = torch.Generator().manual_seed(4)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.running_var, module.weight):
                tensor.data.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            for tensor in (module.running_mean, module.bias):
                tensor.data.copy_(torch.randn(tensor.shape, generator=generator) / 4)


def losses(network: nn.Module, logits: Callable[[], Tensor], labels: Tensor) -> list[float]:
    """Of some steps of training."""
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    found = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(logits(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def save_scan(points: Tensor, folder: Path) -> str:
    """As SemanticKITTI has it."""
    path = folder / "scan.bin"
    points.numpy().astype("<f4").tofile(path)
    return str(path)
