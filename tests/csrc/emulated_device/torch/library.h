// Found before torch's <torch/library.h>: what a binding registers for CUDA serves CPU tensors, and
// what it registers for the CPU serves none.
#pragma once

#include_next <torch/library.h>

#undef TORCH_LIBRARY_IMPL
#define TORCH_LIBRARY_IMPL(ns, key, m) ELITE_REGISTER_##key(ns, m, C10_UID)
#define ELITE_REGISTER_CUDA(ns, m, uid) _TORCH_LIBRARY_IMPL(ns, CPU, m, uid)
#define ELITE_REGISTER_CPU(ns, m, uid) ELITE_UNREGISTERED(m, C10_CONCATENATE(unregistered_, uid))
#define ELITE_UNREGISTERED(m, name) [[maybe_unused]] static void name(torch::Library& m)
