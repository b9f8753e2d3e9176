"""Cases of errors that depend on values: CPU kernels raise them at once."""

import pytest

immediate_error = pytest.mark.cpu_kernels("CUDA kernels report this error later")


def immediate(*values: object) -> object:
    """The parameters of such a case. CUDA's part in it has a test of its own."""
    return pytest.param(*values, marks=immediate_error)
