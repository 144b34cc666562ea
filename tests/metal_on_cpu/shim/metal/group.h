// Barriers and SIMD-group functions. Call sites are told apart by their line in the .metal text.
#pragma once
#include "integer.h"

#define METAL_LINE uint line = __builtin_LINE()

namespace metal {

enum class mem_flags : uint32_t { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };

SHIM_RUNTIME void threadgroup_barrier(mem_flags flags, METAL_LINE) { metal_runtime->threadgroup_barrier(uint32_t(flags), line); }
SHIM_RUNTIME void simdgroup_barrier(mem_flags flags, METAL_LINE) { metal_runtime->simdgroup_barrier(uint32_t(flags), line); }

// What the threads of a SIMD group handed in; of those that take no part Metal says nothing, here it is the caller's own value.
template <class T> struct lanes {
  static_assert(sizeof(typename shape<T>::component) <= 4, "Metal has no 64-bit SIMD-group functions");
  static_assert(sizeof(T) <= 16);
  const metal_on_cpu::exchange *in;
  T mine;

  SHIM lanes(T value, uint line) : in(metal_runtime->simdgroup_exchange(&value, sizeof value, line)), mine(value) {}
  SHIM bool active(uint i) const { return i < 32 && (in->active >> i & 1); }
  SHIM T at(uint i) const {
    T value = mine;
    if (active(i)) __builtin_memcpy(&value, in->values[i], sizeof value);
    return value;
  }
  // Over the active lanes of begin..end.
  template <class F> SHIM T fold(T start, uint begin, uint end, F f) const {
    for (uint i = begin; i < end; i++)
      if (active(i)) start = f(start, at(i));
    return start;
  }
  SHIM uint first() const { return ctz(in->active); }
};

#define METAL_REDUCTION(name, expression) \
  template <class T> SHIM_RUNTIME T simd_##name(T value, METAL_LINE) { \
    const lanes<T> all(value, line); \
    return all.fold(all.at(all.first()), all.first() + 1, 32, [](T a, T b) METAL_INLINE -> T { return expression; }); \
  }
METAL_REDUCTION(sum, a + b) METAL_REDUCTION(product, a * b)
METAL_REDUCTION(min, metal::min(a, b)) METAL_REDUCTION(max, metal::max(a, b))
METAL_REDUCTION(and, a & b) METAL_REDUCTION(or, a | b) METAL_REDUCTION(xor, a ^ b)
#undef METAL_REDUCTION

#define METAL_PREFIX(name, op, identity) \
  template <class T> SHIM_RUNTIME T simd_prefix_exclusive_##name(T value, METAL_LINE) { \
    const lanes<T> all(value, line); \
    return all.fold(T(identity), 0, all.in->lane, [](T a, T b) METAL_INLINE -> T { return a op b; }); \
  } \
  template <class T> SHIM_RUNTIME T simd_prefix_inclusive_##name(T value, METAL_LINE) { \
    const lanes<T> all(value, line); \
    return all.fold(T(identity), 0, all.in->lane + 1, [](T a, T b) METAL_INLINE -> T { return a op b; }); \
  }
METAL_PREFIX(sum, +, 0) METAL_PREFIX(product, *, 1)
#undef METAL_PREFIX

struct simd_vote {
  uint64_t bits;
  SHIM explicit operator uint64_t() const { return bits; }
};
SHIM_RUNTIME simd_vote simd_ballot(bool value, METAL_LINE) {
  const lanes<uint> all(value, line);
  uint64_t bits = 0;
  for (uint i = 0; i < 32; i++)
    if (all.active(i) && all.at(i)) bits |= uint64_t(1) << i;
  return {bits};
}
SHIM_RUNTIME bool simd_all(bool value, METAL_LINE) { return simd_min<uint>(value, line); }
SHIM_RUNTIME bool simd_any(bool value, METAL_LINE) { return simd_max<uint>(value, line); }

#define METAL_SHUFFLE(name, from) \
  template <class T> SHIM_RUNTIME T name(T value, uint i, METAL_LINE) { \
    const lanes<T> all(value, line); \
    const uint lane = all.in->lane; \
    (void)lane; \
    return all.at(from); \
  }
METAL_SHUFFLE(simd_broadcast, i) METAL_SHUFFLE(simd_shuffle, i) METAL_SHUFFLE(simd_shuffle_xor, lane ^ i)
METAL_SHUFFLE(simd_shuffle_up, lane - i) METAL_SHUFFLE(simd_shuffle_down, lane + i)
METAL_SHUFFLE(quad_broadcast, (lane & ~3u) + i) METAL_SHUFFLE(quad_shuffle_xor, lane ^ i)
#undef METAL_SHUFFLE
template <class T> SHIM_RUNTIME T simd_broadcast_first(T value, METAL_LINE) {
  const lanes<T> all(value, line);
  return all.at(all.first());
}

} // namespace metal
#undef METAL_LINE
