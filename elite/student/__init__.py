"""The student: the small sparse-convolution network that runs at inference."""

from elite.student.network import Student, StudentConfig

__all__ = ["Student", "StudentConfig"]
