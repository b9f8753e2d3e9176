// ELITE_HOST_DEVICE marks a function that host code and kernels share.
#pragma once

#ifdef __CUDACC__
#define ELITE_HOST_DEVICE __host__ __device__
#else
#define ELITE_HOST_DEVICE
#endif
