"""The networks of examples/ as users of spconv write them, for any library of its names.

`spconv` is the module that `import spconv.pytorch as spconv` gives: spconv's own, or
`elite_ops.compat.spconv.pytorch`.
"""

from spconv_networks.second import Second
from spconv_networks.spunet import SpUNet
from spconv_networks.voxelnext import VoxelNeXt
from spconv_networks.weights import carry_weights, in_spconv_layout

__all__ = ["Second", "SpUNet", "VoxelNeXt", "carry_weights", "in_spconv_layout"]
