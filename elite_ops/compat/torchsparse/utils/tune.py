"""What chooses among torchsparse's kernels."""

from __future__ import annotations

from typing import Any

__all__ = ["tune"]


def tune(*arguments: Any, **options: Any) -> None:
    """There is nothing to tune here.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError(
        "torchsparse.tune: the kernels of elite_ops choose by themselves; leave the call out"
    )
