#include "cpu/parallel.h"

#include <ATen/Parallel.h>

namespace elite_ops::cpu {

void parallel_for(int64_t begin, int64_t end, int64_t grain_size,
                  const std::function<void(int64_t, int64_t)>& body) {
  at::parallel_for(begin, end, grain_size, body);
}

int num_threads() { return at::get_num_threads(); }

}  // namespace elite_ops::cpu
