// The Python module `elite_ops._C`: importing it registers the ops (by the static initialisers of
// the other bindings), and it carries what is not a tensor op.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/version.h>

#include "cpu/memory_pool.h"
#include "device_error.h"
#include "refusals.h"
#include "sparse_conv_variant.h"

#ifndef ELITE_CUDA_ARCHITECTURES
#define ELITE_CUDA_ARCHITECTURES ""
#endif

namespace py = pybind11;

namespace {

// Whether CUDA kernels run on the host, in place of the CPU's: the tests' build does.
#ifdef ELITE_EMULATED_DEVICE
constexpr bool kEmulatesCuda = true;
#else
constexpr bool kEmulatesCuda = false;
#endif

py::dict build_info() {
  py::dict info;
  info["torch"] = TORCH_VERSION;
  info["compiler"] = __VERSION__;
#ifdef ELITE_WITH_CUDA
  info["cuda"] = true;
#else
  info["cuda"] = false;
#endif
  info["cuda_architectures"] = ELITE_CUDA_ARCHITECTURES;
  return info;
}

py::dict memory_statistics() {
  const elite_ops::cpu::MemoryStatistics statistics = elite_ops::cpu::memory_statistics();
  py::dict counts;
  counts["in_use"] = statistics.in_use;
  counts["kept"] = statistics.kept;
  counts["allocations"] = statistics.allocations;
  return counts;
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  elite_ops::refuse_forward_mode_and_tracing();
  m.attr("emulates_cuda") = kEmulatesCuda;
  m.def("build_info", &build_info, "What this extension was built with.");
  m.def("memory_statistics", &memory_statistics, "What the CPU memory pool holds.");
  m.def("release_kept_memory", &elite_ops::cpu::release_kept_memory,
        "Gives the CPU memory that waits to be used again back to the system.");
  m.def("force_sparse_conv_variant", &elite_ops::force_sparse_conv_variant, py::arg("variant"),
        "Has sparse convolutions on CUDA use one kernel, for measurements; 0 ends it.");
  m.def("take_device_errors", &elite_ops::take_device_errors, py::arg("device"),
        py::call_guard<py::gil_scoped_release>(),  // it waits for the device
        "Waits for a CUDA device; reads and clears what its kernels have reported, in sentences.");
  m.def("refuse_missing_derivatives", &elite_ops::refuse_missing_derivatives,
        "Gives every op without a derivative one that raises.");
}
