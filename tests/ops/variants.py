"""The kernels in csrc/cuda/sparse_conv_variant.h: which a device has."""

import pytest
import torch

from elite_ops import build_info

FIRST_OF_HOPPER = 5


def skip_missing_variant(device: torch.device, variant: int) -> None:
    if device.type != "cuda" or variant < FIRST_OF_HOPPER:
        return
    hopper = torch.cuda.get_device_capability(device) == (9, 0)
    if not (hopper and "9.0a" in str(build_info()["cuda_architectures"])):
        pytest.skip("warpgroup products need compute capability 9.0 and a build for 9.0a")
