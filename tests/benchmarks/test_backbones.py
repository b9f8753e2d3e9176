"""Twins of the examples' networks are compared before they are timed."""

from __future__ import annotations

import pytest
import torch
from bench_backbones import (
    EXAMPLES,
    GRADIENT,
    OUTPUT,
    Backbone,
    error_of_gradients,
    error_of_outputs,
    found_right,
    wanted,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_scan(few_points: int) -> int:
    wanted.cache_clear()
    return few_points


@pytest.mark.parametrize("example", EXAMPLES)
def test_predictions_of_a_twin_are_those_of_the_network(example: str) -> None:
    want, _, _ = wanted(example, CPU)
    twin = Backbone(example, "elite_ops_compat", CPU).predicting()
    assert error_of_outputs(twin.outputs(twin.predict()), want) < OUTPUT


def test_a_wrong_weight_is_noticed() -> None:
    _, want, want_gradients = wanted("second", CPU)
    twin = Backbone("second", "elite_ops_compat", CPU)
    found_right(error_of_outputs(twin.outputs(twin.step()), want), OUTPUT)
    found_right(error_of_gradients(twin, want_gradients), GRADIENT)
    with torch.no_grad():
        twin.network.conv_out[0].weight[0] += 0.1
    outputs = twin.outputs(twin.step())
    with pytest.raises(AssertionError, match="where 1e-04 is allowed"):
        found_right(error_of_outputs(outputs, want), OUTPUT)
    with pytest.raises(AssertionError, match="where 1e-02 is allowed"):
        found_right(error_of_gradients(twin, want_gradients), GRADIENT)
