"""Contestants that were found right before anyone times them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from precision import rms_error
from submanifold import Submanifold, truth

from peers import Contestant, Missing, load

__all__ = ["entered", "error_of_backward", "error_of_forward", "excused"]


@contextmanager
def excused(name: str) -> Iterator[None]:
    """Skips the test where another library is missing, fails or is wrong; the reason says what.

    Faults of this library, and of what is built of torch alone, are not excused.
    """
    try:
        yield
    except Missing as error:
        pytest.skip(f"missing: {error}")
    except Exception as error:
        if name.startswith(("elite_ops", "reference", "torch")):
            raise
        first_line = (str(error).splitlines() or [""])[0]
        pytest.skip(f"broken: {name}: {type(error).__name__}: {first_line}")


@contextmanager
def entered(name: str, case: Submanifold) -> Iterator[Contestant]:
    """A contestant set up for a case; see `excused`."""
    with excused(name), case.precision.set():
        yield load(name)(case)


def error_of_forward(contestant: Contestant, kernel_map: object) -> float:
    """Its relative error, which is within the limit of the precision."""
    with torch.no_grad():
        out = contestant.from_rows(contestant.convolve(kernel_map))
    return _within_limit(contestant, rms_error(out, truth(contestant.case).out))


def error_of_backward(contestant: Contestant, out: torch.Tensor) -> float:
    """The larger of the errors of both gradients, which is within the limit."""
    case = contestant.case
    grad_features, grad_weight = contestant.backward(out)
    errors = (
        rms_error(contestant.from_rows(grad_features), truth(case).grad_features),
        rms_error(contestant.from_weight(grad_weight), truth(case).grad_weight),
    )
    return _within_limit(contestant, max(errors))


def _within_limit(contestant: Contestant, error: float) -> float:
    limit = contestant.case.precision.limit * contestant.leniency
    if not error <= limit:  # NaN is no pass
        raise AssertionError(f"relative error {error:.1e} where {limit:.0e} is allowed")
    return error
