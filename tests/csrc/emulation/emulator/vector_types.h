// CUDA's built-in vector types, with CUDA's alignment, so that UBSan sees a misaligned access.
#pragma once

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define EMULATION_VECTOR_TYPES(name, scalar, alignment2, alignment4)                   \
  struct alignas(alignment2) name##2 { scalar x, y; };                                 \
  struct name##3 { scalar x, y, z; };                                                  \
  struct alignas(alignment4) name##4 { scalar x, y, z, w; };                           \
  constexpr name##2 make_##name##2(scalar x, scalar y) { return {x, y}; }              \
  constexpr name##3 make_##name##3(scalar x, scalar y, scalar z) { return {x, y, z}; } \
  constexpr name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }

EMULATION_VECTOR_TYPES(char, signed char, 2, 4)
EMULATION_VECTOR_TYPES(uchar, unsigned char, 2, 4)
EMULATION_VECTOR_TYPES(short, short, 4, 8)
EMULATION_VECTOR_TYPES(ushort, unsigned short, 4, 8)
EMULATION_VECTOR_TYPES(int, int, 8, 16)
EMULATION_VECTOR_TYPES(uint, unsigned, 8, 16)
EMULATION_VECTOR_TYPES(longlong, long long, 16, 16)
EMULATION_VECTOR_TYPES(ulonglong, unsigned long long, 16, 16)
EMULATION_VECTOR_TYPES(float, float, 8, 16)
EMULATION_VECTOR_TYPES(double, double, 16, 16)

#undef EMULATION_VECTOR_TYPES
