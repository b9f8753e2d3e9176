"""Progress bars on the error stream, so that results alone go to the output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["TrainingDisplay", "counted", "tracked"]

T = TypeVar("T")


def _bar(*columns: TextColumn, enabled: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        *columns,
        console=Console(stderr=True),
        disable=not enabled,
    )


def tracked(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """The same items, with a progress bar that says how long the rest will take."""
    length = total if total is not None else len(items)  # type: ignore[arg-type]
    with _bar(enabled=True) as bar:
        yield from bar.track(items, total=length, description=description)


@contextmanager
def counted(description: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that is told how many items are done, and how many there are."""
    with _bar(enabled=True) as bar:
        task = bar.add_task(description, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


class TrainingDisplay:
    """Steps done, time left, and the latest loss and validation."""

    def __init__(self, total: int, done: int, enabled: bool) -> None:
        self._bar = _bar(TextColumn("{task.fields[note]}"), enabled=enabled)
        self._task = self._bar.add_task("training", total=total, completed=done, note="")
        self._loss = ""
        self._validation = ""

    def __enter__(self) -> TrainingDisplay:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self) -> None:
        self._bar.advance(self._task)

    def show_loss(self, loss: float) -> None:
        self._loss = f"loss {loss:.3f}"
        self._note()

    def show_validation(self, miou: float) -> None:
        self._validation = f"val mIoU {100 * miou:.1f} %"
        self._note()

    def _note(self) -> None:
        self._bar.update(self._task, note=f"{self._loss}  {self._validation}")
