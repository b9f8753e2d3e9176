// CUDA's words for functions and variables.
#pragma once

#define __global__
#define __device__
#define __host__
#define __constant__
#define __shared__ static  // see shared_memory.h
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) __attribute__((aligned(bytes)))
