"""Names that can be imported but not used."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["placeholder"]


def placeholder(name: str, reason: str) -> type:
    """A class of that name which raises when it is called, whether spconv's is a class or not."""

    def refuse(cls: type, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"{cls.__name__}: {reason}")

    return type(name, (), {"__new__": refuse, "__doc__": f"Not available: {reason}."})
