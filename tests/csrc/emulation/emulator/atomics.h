// Atomics, for the types that the device has them for. Threads take turns only at barriers, so
// plain reads and writes do.
#pragma once

#include <type_traits>
#include <utility>

namespace emulation {

template <typename T, typename... Allowed>
concept OneOf = (std::is_same_v<T, Allowed> || ...);

template <typename T>
concept Word = OneOf<T, int, unsigned, unsigned long long>;

}  // namespace emulation

template <typename T>
  requires emulation::OneOf<T, int, unsigned, unsigned long long, float, double>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  // Integers wrap, as on the device.
  if constexpr (std::is_same_v<T, int>) {
    const unsigned sum = static_cast<unsigned>(*address) + static_cast<unsigned>(value);
    return std::exchange(*address, static_cast<int>(sum));
  } else {
    return std::exchange(*address, *address + value);
  }
}

template <typename T>
  requires emulation::OneOf<T, int, unsigned>
T atomicSub(T* address, std::type_identity_t<T> value) {
  const unsigned difference = static_cast<unsigned>(*address) - static_cast<unsigned>(value);
  return std::exchange(*address, static_cast<T>(difference));
}

template <typename T>
  requires emulation::Word<T> || std::is_same_v<T, long long>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, value < *address ? value : *address);
}

template <typename T>
  requires emulation::Word<T> || std::is_same_v<T, long long>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, value > *address ? value : *address);
}

template <emulation::Word T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, *address & value);
}

template <emulation::Word T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, *address | value);
}

template <emulation::Word T>
T atomicXor(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, *address ^ value);
}

template <typename T>
  requires emulation::Word<T> || std::is_same_v<T, float>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return std::exchange(*address, value);
}

template <typename T>
  requires emulation::Word<T> || std::is_same_v<T, unsigned short>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> desired) {
  return std::exchange(*address, *address == expected ? desired : *address);
}
