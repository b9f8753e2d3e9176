"""The other table of a kernel map, which only gradients read, is made where one is needed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from kernel_tables import random_tables
from torch import Tensor

from elite_ops import (
    KernelGeometry,
    KernelMap,
    sparse_avg_pool,
    sparse_conv,
    sparse_depthwise_conv,
    sparse_max_pool,
)

OPS = torch.ops.elite_ops
OVER_MAPS: dict[str, Callable[[Tensor, Tensor, KernelMap], Tensor]] = {
    "sparse_conv": lambda x, w, kernel_map: sparse_conv(x, w[..., None] * w[:, None], kernel_map),
    "sparse_depthwise_conv": sparse_depthwise_conv,
    "sparse_max_pool": lambda x, w, kernel_map: sparse_max_pool(x, kernel_map),
    "sparse_avg_pool": lambda x, w, kernel_map: sparse_avg_pool(x, kernel_map),
}
each_op = pytest.mark.parametrize("run", OVER_MAPS.values(), ids=OVER_MAPS)


def inputs(device: torch.device) -> tuple[Tensor, Tensor, KernelMap]:
    """Features and a weight, and a map that has one table so far."""
    tables = random_tables(9, 7, 5)
    kernel_map = KernelMap(tables.in_rows.to(device), 9, KernelGeometry.of(1))
    features = torch.randn(9, 4, device=device, requires_grad=True)
    return features, torch.randn(5, 4, device=device, requires_grad=True), kernel_map


@each_op
def test_it_is_made_for_a_gradient_alone(
    device: torch.device, run: Callable[[Tensor, Tensor, KernelMap], Tensor]
) -> None:
    features, weight, kernel_map = inputs(device)
    outputs = []
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            outputs.append(run(features, weight, kernel_map))
    outputs.append(run(features.detach(), weight.detach(), kernel_map))
    outputs.append(run(features.detach(), weight, kernel_map))
    assert kernel_map._out_rows is None
    out = run(features, weight, kernel_map)
    assert kernel_map._out_rows is not None
    assert all(torch.equal(out, o) for o in outputs)


def test_the_gradient_of_a_depthwise_weight_needs_none(device: torch.device) -> None:
    features, weight, kernel_map = inputs(device)

    def grad(features: Tensor) -> Tensor:
        out = sparse_depthwise_conv(features, weight, kernel_map)
        (first,) = torch.autograd.grad(out.square().sum(), weight, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), weight)
        return torch.stack([first.detach(), second])

    constant = grad(features.detach())
    assert kernel_map._out_rows is None
    assert torch.equal(constant, grad(features))


def test_a_gradient_without_it_is_refused(device: torch.device) -> None:
    features, weight, kernel_map = inputs(device)
    outputs = {
        "sparse_depthwise_conv": OPS.sparse_depthwise_conv(
            features, weight, None, kernel_map.in_rows, None, False
        ),
        "sparse_max_pool": OPS.sparse_max_pool(features, kernel_map.in_rows)[0],
        "sparse_avg_pool": OPS.sparse_avg_pool(features, kernel_map.in_rows)[0],
    }
    for op, out in outputs.items():
        message = f"^{op}: `out_rows` must be given where a gradient is needed, got None"
        with pytest.raises(ValueError, match=message):
            out.sum().backward()


@each_op
def test_compiled_inference_needs_none(
    device: torch.device, run: Callable[[Tensor, Tensor, KernelMap], Tensor]
) -> None:
    features, weight, kernel_map = inputs(device)
    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        got, want = compiled(features, weight, kernel_map), run(features, weight, kernel_map)
    assert kernel_map._out_rows is None
    assert torch.equal(got, want)
