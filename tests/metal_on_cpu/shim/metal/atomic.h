// Atomics, relaxed: naga asks for no other order.
#pragma once
#include "vector.h"

namespace metal {

enum memory_order { memory_order_relaxed };

template <class T> struct atomic { T value; };
using atomic_int = atomic<int>;
using atomic_uint = atomic<uint>;
using atomic_ulong = atomic<ulong>;

// An operand takes no part in deducing T, so that it converts.
template <class T> struct same { using type = T; };
template <class T> using operand = typename same<T>::type;

SHIM_RUNTIME bool fails_spuriously() { return metal_runtime->fails_spuriously(); }

template <class T> SHIM void observe(const volatile atomic<T> *at, uint32_t kinds) {
#ifdef METAL_CHECK
  metal_on_cpu::observe(const_cast<const atomic<T> *>(at), sizeof(T), kinds | metal_on_cpu::access_atomic);
#else
  (void)at, (void)kinds;
#endif
}

template <class T> SHIM T atomic_load_explicit(const volatile atomic<T> *a, memory_order) {
  observe(a, metal_on_cpu::access_read);
  return __atomic_load_n(&a->value, __ATOMIC_RELAXED);
}
template <class T> SHIM void atomic_store_explicit(volatile atomic<T> *a, operand<T> x, memory_order) {
  observe(a, metal_on_cpu::access_write);
  __atomic_store_n(&a->value, x, __ATOMIC_RELAXED);
}
#define METAL_FETCH(name, builtin) \
  template <class T> SHIM T atomic_##name##_explicit(volatile atomic<T> *a, operand<T> x, memory_order) { \
    observe(a, metal_on_cpu::access_read | metal_on_cpu::access_write); \
    return builtin(&a->value, x, __ATOMIC_RELAXED); \
  }
METAL_FETCH(exchange, __atomic_exchange_n)
METAL_FETCH(fetch_add, __atomic_fetch_add) METAL_FETCH(fetch_sub, __atomic_fetch_sub)
METAL_FETCH(fetch_and, __atomic_fetch_and) METAL_FETCH(fetch_or, __atomic_fetch_or) METAL_FETCH(fetch_xor, __atomic_fetch_xor)
METAL_FETCH(fetch_min, __atomic_fetch_min) METAL_FETCH(fetch_max, __atomic_fetch_max)
#undef METAL_FETCH

template <class T>
SHIM bool atomic_compare_exchange_weak_explicit(volatile atomic<T> *a, T *expected, operand<T> x, memory_order, memory_order) {
  observe(a, metal_on_cpu::access_read | metal_on_cpu::access_write);
  if (fails_spuriously()) {
    *expected = __atomic_load_n(&a->value, __ATOMIC_RELAXED);
    return false;
  }
  return __atomic_compare_exchange_n(&a->value, expected, x, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

} // namespace metal
