"""The error that a user can do something about: one sentence, and the remedy."""

from __future__ import annotations

__all__ = ["EliteError"]


class EliteError(Exception):
    """What went wrong, and what to do about it; the command line prints both and exits with 1."""

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}\n{remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy
