// Functions on integers, and on vectors of them component by component.
#pragma once
#include "vector.h"

namespace metal {
// Operands of different types do not compile: Metal calls them ambiguous (wgpu #10277).
namespace scalar {

template <class T> constexpr int width = 8 * sizeof(T);
SHIM uint bits(int a) { return a; }
SHIM uint bits(uint a) { return a; }
SHIM ulong bits(long a) { return a; }
SHIM ulong bits(ulong a) { return a; }

template <class T> SHIM T min(T a, T b) { return b < a ? b : a; }
template <class T> SHIM T max(T a, T b) { return a < b ? b : a; }
template <class T> SHIM T clamp(T a, T low, T high) { return min(max(a, low), high); }
template <class T> SHIM T abs(T a) { return a < 0 ? -a : a; }
template <class T> SHIM T select(T a, T b, bool second) { return second ? b : a; }
template <class T> SHIM T popcount(T a) { return __builtin_popcountll(bits(a)); }
template <class T> SHIM T clz(T a) { return a == 0 ? width<T> : __builtin_clzll(bits(a)) - (64 - width<T>); }
template <class T> SHIM T ctz(T a) { return a == 0 ? width<T> : __builtin_ctzll(bits(a)); }
template <class T> SHIM T reverse_bits(T a) { return __builtin_bitreverse64(bits(a)) >> (64 - width<T>); }
template <class T> SHIM T extract_bits(T a, uint offset, uint count) {
  return count == 0 ? T(0) : T(T(bits(a) << (width<T> - offset - count)) >> (width<T> - count));
}
template <class T> SHIM T insert_bits(T a, T inserted, uint offset, uint count) {
  if (count == 0) return a;
  const auto mask = bits(T(-1)) >> (width<T> - count) << offset;
  return (bits(a) & ~mask) | (bits(inserted) << offset & mask);
}

} // namespace scalar

#define METAL_LIFTED(name) \
  template <class... A> SHIM auto name(const A &...a) { return lift([](auto... x) METAL_INLINE { return scalar::name(x...); }, a...); }
METAL_LIFTED(min) METAL_LIFTED(max) METAL_LIFTED(clamp) METAL_LIFTED(abs) METAL_LIFTED(select)
METAL_LIFTED(popcount) METAL_LIFTED(clz) METAL_LIFTED(ctz) METAL_LIFTED(reverse_bits)
METAL_LIFTED(extract_bits) METAL_LIFTED(insert_bits)
#undef METAL_LIFTED

SHIM bool all(bool a) { return a; }
SHIM bool any(bool a) { return a; }
template <int N> SHIM bool all(const vec<bool, N> &a) {
  bool r = true;
  for (int i = 0; i < N; i++) r &= a.d[i];
  return r;
}
template <int N> SHIM bool any(const vec<bool, N> &a) { return !all(!a); }

} // namespace metal
