"""torchsparse's tensors, layers and functions on the kernels of this library.

    from elite_ops.compat import torchsparse
    from elite_ops.compat.torchsparse import nn as spnn

in place of `import torchsparse` and `import torchsparse.nn as spnn`; or
`elite_ops.compat.torchsparse.install()` before anything imports it. Weights load as they are.

Two releases are followed, which differ in what coordinates are; `install("1.4")` or
`use_version("1.4")` chooses the older one, for the whole process:

| | 2.1 (default) | 1.4, 2.0 |
|---|---|---|
| a row of coordinates | batch, x, y, z | x, y, z, batch |
| at stride s | counted in cells of s | multiples of s |
| a strided convolution makes | all cells that an input reaches (*) | see below |
| even kernels of stride 1 begin | at their output (*) | centred |
| order of weights | x fastest of an odd number of offsets, else z | the same |

(*) or what `ConvConfig` says. As torch's of the dense grid, which ends with the last input, such a
convolution leaves out what lies past the last whole kernel. One of 1.4 whose kernel is as large as
its stride makes the cells of the stride that hold an input; else all that an offset leads to.
Coordinates may be negative in both. Caches are `_caches` of a tensor in 2.1, and its `cmaps` and
`kmaps` in 1.4; both names serve in both. What kernel maps are is this library's affair.
"""

from typing import Any

from elite_ops.compat.installation import install_package
from elite_ops.compat.torchsparse import backend as backend
from elite_ops.compat.torchsparse import backends as backends
from elite_ops.compat.torchsparse import nn as nn
from elite_ops.compat.torchsparse import utils as utils
from elite_ops.compat.torchsparse.operators import cat, generative_add
from elite_ops.compat.torchsparse.tensor import PointTensor, SparseTensor
from elite_ops.compat.torchsparse.utils.tune import tune
from elite_ops.compat.torchsparse.versions import convention, use_version, using_version

__all__ = [
    "PointTensor",
    "SparseTensor",
    "__version__",
    "cat",
    "generative_add",
    "install",
    "tune",
    "use_version",
    "using_version",
]

__version__: str  # of the release that is followed


def install(version: str = "2.1") -> None:
    """Lets `import torchsparse`, and its modules, find this package.

    Args:
        version: the release that programs were written for, "2.1" or "1.4".

    Raises:
        ImportError: if torchsparse itself has been imported already.
        ValueError: if there is no such version.
    """
    install_package(__name__, "torchsparse")
    use_version(version)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return convention().name
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
