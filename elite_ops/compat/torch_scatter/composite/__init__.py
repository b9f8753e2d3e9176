"""What is composed of several reductions, as torch_scatter's `composite`."""

from elite_ops.compat.torch_scatter.composite.logsumexp import scatter_logsumexp
from elite_ops.compat.torch_scatter.composite.softmax import scatter_log_softmax, scatter_softmax
from elite_ops.compat.torch_scatter.composite.std import scatter_std

__all__ = ["scatter_log_softmax", "scatter_logsumexp", "scatter_softmax", "scatter_std"]
