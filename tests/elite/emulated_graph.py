"""Streams, events and graphs of a device that is emulated on the host.

A graph records the torch ops of its capture, and a replay runs them again on the same tensors: what
was computed anew goes to where the capture put it. So a capture that depends on the host reading a
value, or on a size that the data decides, fails or computes something else, as it does on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Ops that wait for the device: during a capture, CUDA refuses them. What takes a tensor out of
# torch (`tolist`, `numpy`, `cpu`) is no op on the host, and stays unnoticed.
WAITS = {
    *("_local_scalar_dense", "equal", "is_nonzero", "item", "masked_select", "nonzero"),
    *("_unique2", "unique_consecutive", "unique_dim", "repeat_interleave", "intersect_segments"),
}


def waits(func: Any, args: Any) -> bool:
    """By its name, by an index of booleans, or because voxels have to be counted for their size."""
    name = func.overloadpacket.__name__
    if name in ("voxelize", "voxelize_scale"):
        return not (len(args) > 8 and args[8])  # capacity
    if name in ("index", "index_put", "index_put_"):
        return any(t.dtype in (torch.bool, torch.uint8) for t in tensors_of(args[1]))
    return name in WAITS


class Stream:
    def __init__(self, device: object = None) -> None:
        self.device = device

    def wait_stream(self, stream: Stream) -> None:
        """Everything is done as soon as it is called."""

    def wait_event(self, event: Event) -> None:
        """The same."""

    def record_event(self, event: Event) -> None:
        """The same."""


class Event:
    def synchronize(self) -> None:
        """The same."""


def tensors_of(values: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def storages_of(values: object) -> set[int]:
    return {tensor.untyped_storage()._cdata for tensor in tensors_of(values)}


class CUDAGraph:
    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []
        self.replays = 0

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for step in self.steps:
            step()


class Recorder(TorchDispatchMode):
    def __init__(self, graph: CUDAGraph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        if waits(func, args):
            raise RuntimeError(f"{func} waits for the device during a capture")
        kwargs = kwargs or {}
        recorded = func(*args, **kwargs)
        own = storages_of((args, kwargs))
        places = [t for t in tensors_of(recorded) if t.untyped_storage()._cdata not in own]
        if places or func._schema.is_mutable:
            self.graph.steps.append(lambda: self.run(func, args, kwargs, own, places))
        return recorded

    @staticmethod
    def run(func: Any, args: Any, kwargs: Any, own: set[int], places: list[Tensor]) -> None:
        results = tensors_of(func(*args, **kwargs))
        new = [t for t in results if t.untyped_storage()._cdata not in own]
        for place, result in zip(places, new, strict=True):
            if place.shape != result.shape:
                raise RuntimeError(f"{func} made {place.shape} in the capture, now {result.shape}")
            place.copy_(result)


class Capture:
    """torch.cuda.graph."""

    made: ClassVar[list[Capture]] = []

    def __init__(
        self,
        cuda_graph: CUDAGraph,
        pool: object = None,
        stream: Stream | None = None,
        capture_error_mode: str = "global",
    ) -> None:
        self.stream, self.capture_error_mode = stream, capture_error_mode
        self.recorder = Recorder(cuda_graph)
        self.made.append(self)

    def __enter__(self) -> None:
        self.recorder.__enter__()

    def __exit__(self, *error: Any) -> None:
        self.recorder.__exit__(*error)


def emulate_graphs(monkeypatch: pytest.MonkeyPatch) -> list[Capture]:
    """Replaces torch.cuda's; returns the list of the captures that will be made."""
    Capture.made.clear()
    stand_ins: dict[str, object] = {
        "CUDAGraph": CUDAGraph,
        "Event": Event,
        "Stream": Stream,
        "graph": Capture,
        "current_stream": Stream,
        "device": nullcontext,
        "stream": nullcontext,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return Capture.made
