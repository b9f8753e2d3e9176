"""spconv 2.3.8's names on this library's kernels: CPU and CUDA, the same bits on every run.

Either change the import,

    import elite_ops.compat.spconv.pytorch as spconv

or leave the code as it is, and call `install()` before it imports spconv. Weights of spconv 2.x
load as they are, those of 1.x too. Code of 1.x, which has the layers in `spconv` itself, finds
them there.

What differs from spconv, all else being equal up to rounding:

- Output voxels of strided and transposed convolutions and of pooling come in order of their
  indices; spconv's come in the order in which they were first reached. Compare by index.
- A maximum is that of the voxels that are there, as on spconv's GPU path; its CPU path, and 1.x,
  start from 0, which only negative features tell apart.
- `empty_mean` of `PointToVoxel` fills with the mean of the voxel's points, as spconv's GPU path
  does; its CPU path carries the mean of the voxel before into the sum.
- `SparseGlobalAvgPool` returns the means [B, C], of which spconv returns the first channel's alone;
  a sample without voxels gets 0, where spconv raises.
- Voxels must be inside of `spatial_shape` and unique, or a layer raises; spconv goes on with
  whatever it finds.
- Maps are those of the voxels as they are: after `indices` were changed, in place too, they are
  built again, also where `indice_key` is known.
- `features` may be assigned, as in 1.x. `IndiceData` is one class, with the tables of spconv's two;
  `indice_pair_num` of a submanifold convolution counts all offsets, spconv's the first half alone.
- `algo`, `fp32_accum`, `large_kernel_fast_algo`, `benchmark`, `enable_timer` and the like are
  accepted and change nothing. Sums are formed in float32 at least; in TF32 only where torch's own
  switch for matrix products allows it.
- Kernels have up to 7 cells along an axis and up to three axes; int8 and fused activations are not
  there. What isn't raises when it is used, not when it is imported.
"""

import importlib
from typing import Any

from elite_ops.compat.spconv import constants as constants
from elite_ops.compat.spconv.core import AlgoHint, ConvAlgo
from elite_ops.compat.spconv.install import LEGACY_MODULES, install

__all__ = ["SPCONV_VERSION_NUMBERS", "AlgoHint", "ConvAlgo", "__version__", "install"]

__version__ = "2.3.8"  # the version whose names these are
SPCONV_VERSION_NUMBERS = [2, 3, 8]


def __getattr__(name: str) -> Any:
    """The names of 1.x, which are those of `spconv.pytorch` now."""
    if not name.startswith("_"):
        pytorch = importlib.import_module(f"{__name__}.pytorch")
        if name in LEGACY_MODULES or name in pytorch.__all__:
            return getattr(pytorch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
