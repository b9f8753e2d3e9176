#include "vectors.h"

namespace elite_ops::cpu {
namespace {

std::vector<VectorBytes> supported_widths() {
  std::vector<VectorBytes> widths;
#if ELITE_X86
  if (__builtin_cpu_supports("avx512f")) widths.push_back(64);
  if (__builtin_cpu_supports("avx2")) widths.push_back(32);
#endif
  widths.push_back(16);
  return widths;
}

}  // namespace

const std::vector<VectorBytes>& vector_widths() {
  static const std::vector<VectorBytes> widths = supported_widths();
  return widths;
}

}  // namespace elite_ops::cpu
