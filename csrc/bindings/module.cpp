// The Python module `elite_ops._C`: importing it registers the ops (by the static initialisers of
// the other bindings), and it carries what is not a tensor op.
#include <pybind11/pybind11.h>
#include <torch/version.h>

#include "device_error.h"

#ifndef ELITE_CUDA_ARCHITECTURES
#define ELITE_CUDA_ARCHITECTURES ""
#endif

namespace py = pybind11;

namespace {

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

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.def("build_info", &build_info, "What this extension was built with.");
  m.def("take_device_errors", &elite_ops::take_device_errors, py::arg("device"),
        "Reads and clears the error flag of a CUDA device (bits of csrc/common/error_flag.h).");
}
