import pytest
import torch
from workloads import scan_voxels

import elite_ops
from elite_ops.reference import segment_softmax as reference


@pytest.mark.benchmark(group="segment_softmax")
@pytest.mark.parametrize("implementation", ["elite_ops", "reference"])
@pytest.mark.parametrize("channels", [4, 64])
@pytest.mark.parametrize("name", ["segment_softmax", "segment_logsumexp"])
def bench_segment_softmax(timed, device, implementation, channels, name):
    """Both against the definition, and the results of both are compared."""
    workload, inverse, num_voxels = scan_voxels(voxel_size=0.1)
    inverse = inverse.to(device)
    segments = elite_ops.build_segments(inverse, num_voxels)
    calls = {
        "elite_ops": lambda src: getattr(elite_ops, name)(src, segments),
        "reference": lambda src: getattr(reference, name)(src, inverse, num_voxels),
    }
    src = torch.randn(len(inverse), channels, device=device)
    out = timed(
        calls[implementation],
        src,
        bytes_moved=2 * src.nbytes + inverse.nbytes,
        workload=workload,
        voxels=num_voxels,
        channels=channels,
    )
    torch.testing.assert_close(out, calls["reference"](src), rtol=1e-5, atol=1e-5)
