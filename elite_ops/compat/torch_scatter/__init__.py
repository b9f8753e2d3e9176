"""torch_scatter's functions on the kernels of this library.

    from elite_ops.compat import torch_scatter

in place of `import torch_scatter`; or `elite_ops.compat.torch_scatter.install()` before anything
imports it. Made after torch_scatter 2.1; what differs is said at `scatter`.
"""

from elite_ops.compat.installation import install_package
from elite_ops.compat.torch_scatter.composite import (
    scatter_log_softmax,
    scatter_logsumexp,
    scatter_softmax,
    scatter_std,
)
from elite_ops.compat.torch_scatter.scatter import (
    scatter,
    scatter_add,
    scatter_max,
    scatter_mean,
    scatter_min,
    scatter_mul,
    scatter_sum,
)
from elite_ops.compat.torch_scatter.segment_coo import (
    gather_coo,
    segment_add_coo,
    segment_coo,
    segment_max_coo,
    segment_mean_coo,
    segment_min_coo,
    segment_sum_coo,
)
from elite_ops.compat.torch_scatter.segment_csr import (
    gather_csr,
    segment_add_csr,
    segment_csr,
    segment_max_csr,
    segment_mean_csr,
    segment_min_csr,
    segment_sum_csr,
)

__version__ = "2.1.2"

__all__ = [
    "__version__",
    "gather_coo",
    "gather_csr",
    "install",
    "scatter",
    "scatter_add",
    "scatter_log_softmax",
    "scatter_logsumexp",
    "scatter_max",
    "scatter_mean",
    "scatter_min",
    "scatter_mul",
    "scatter_softmax",
    "scatter_std",
    "scatter_sum",
    "segment_add_coo",
    "segment_add_csr",
    "segment_coo",
    "segment_csr",
    "segment_max_coo",
    "segment_max_csr",
    "segment_mean_coo",
    "segment_mean_csr",
    "segment_min_coo",
    "segment_min_csr",
    "segment_sum_coo",
    "segment_sum_csr",
]


def install() -> None:
    """Lets `import torch_scatter`, and its modules, find this package.

    Raises:
        ImportError: if torch_scatter itself has been imported already.
    """
    install_package(__name__, "torch_scatter")
