"""A 3 x 3 x 3 submanifold convolution on real scans, by every library that is there.

Each result is compared with float64 before it is timed; the error is stored beside the time.
"""

import pytest
from cases import convolutions
from peers import CONTESTANTS
from peers.checked import entered, error_of_backward, error_of_forward
from submanifold import submanifold

contestants = pytest.mark.parametrize("contestant", CONTESTANTS)


def description(case, contestant, error):
    return {
        "contestant_version": contestant.library(),
        "workload": case.workload,
        "voxels": len(case.indices),
        "pairs": case.pairs,
        "rms_error": error,
    }


@pytest.mark.benchmark(group="convolution forward, map given")
@contestants
@convolutions()
def bench_forward(timed, device, channels, batch, precision, contestant):
    case = submanifold(device, channels, batch, precision)
    with entered(contestant, case) as library:
        kernel_map = library.build_map()
        info = description(case, library, error_of_forward(library, kernel_map))
        convolve = library.without_gradient(library.convolve)
        timed(convolve, kernel_map, flop=case.flop, bytes_moved=case.forward_bytes, **info)


@pytest.mark.benchmark(group="convolution forward, map rebuilt")
@contestants
@convolutions(on_cpu=[(16, 1), (64, 1)])
def bench_forward_with_new_map(timed, device, channels, batch, precision, contestant):
    case = submanifold(device, channels, batch, precision)
    with entered(contestant, case) as library:
        info = description(case, library, error_of_forward(library, library.build_map()))
        both = library.without_gradient(lambda: library.convolve(library.build_map()))
        timed(both, flop=case.flop, bytes_moved=case.forward_bytes, **info)


@pytest.mark.benchmark(group="convolution backward, map given")
@contestants
@convolutions()
def bench_backward(timed, device, channels, batch, precision, contestant):
    case = submanifold(device, channels, batch, precision)
    with entered(contestant, case) as library:
        out = library.convolve(library.build_map())
        info = description(case, library, error_of_backward(library, out))
        flop, bytes_moved = 2 * case.flop, case.backward_bytes
        timed(library.backward, out, flop=flop, bytes_moved=bytes_moved, **info)
