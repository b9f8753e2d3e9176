// Sizes around tensor-core products, in elements of T.
#pragma once

namespace elite_ops::cuda::tensor_core {

template <typename T>
constexpr int kPerVector = 16 / static_cast<int>(sizeof(T));  // of a 16-byte vector

constexpr int kPartBytes = 32;  // of a row, that one product multiplies
template <typename T>
constexpr int kPartRows = kPartBytes / static_cast<int>(sizeof(T));  // the depth of an mma

}  // namespace elite_ops::cuda::tensor_core
