"""torchsparse.nn."""

from elite_ops.compat.torchsparse.nn.modules import *  # noqa: F403
from elite_ops.compat.torchsparse.nn.modules import __all__ as __all__
