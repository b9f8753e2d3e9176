"""Height and width of an image, as ops take them."""

from __future__ import annotations

from typing import Any

from elite_ops.arguments import integer

__all__ = ["height_and_width"]


def height_and_width(op: str, value: Any) -> tuple[int, int]:
    """The two numbers of an `image_size`.

    Raises:
        TypeError: if there are not two, or one is not an integer.
    """
    try:
        height, width = value
    except (TypeError, ValueError):
        raise TypeError(f"{op}: `image_size` must be (height, width), got {value!r}") from None
    return integer(op, "image_size", height), integer(op, "image_size", width)
