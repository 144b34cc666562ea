// Check mode: what clang's sanitizers call. They are linked to no runtime of their own; these functions pass on what they see, with the
// place in the code that it happened at.
#pragma once
#include "../runtime.h"

#define METAL_HOOK __attribute__((noinline, used, no_sanitize("thread")))

namespace metal_on_cpu {
METAL_HOOK static void observe(const void *at, size_t bytes, uint32_t kinds) {
  metal_runtime->access(at, bytes, kinds, __builtin_return_address(0));
}
METAL_HOOK static void index_out_of_bounds(size_t index) {
  metal_runtime->undefined(undefined_index, index, __builtin_return_address(0));
}
} // namespace metal_on_cpu

extern "C" {

// -fsanitize=thread: every access to memory that may be shared.
#define METAL_ACCESS(name, bytes, kinds) \
  METAL_HOOK void __tsan_##name(void *at) { metal_runtime->access(at, bytes, metal_on_cpu::kinds, __builtin_return_address(0)); }
#define METAL_ACCESSES(bytes) \
  METAL_ACCESS(read##bytes, bytes, access_read) METAL_ACCESS(unaligned_read##bytes, bytes, access_read) \
  METAL_ACCESS(write##bytes, bytes, access_write) METAL_ACCESS(unaligned_write##bytes, bytes, access_write)
METAL_ACCESSES(1) METAL_ACCESSES(2) METAL_ACCESSES(4) METAL_ACCESSES(8) METAL_ACCESSES(16)
METAL_HOOK void __tsan_init() {}

// Calls to these it leaves alone, up to clang 15, so that the definitions below take their place; later it renames them.
#define METAL_COPY(name) \
  METAL_HOOK void *name(void *to, const void *from, size_t bytes) { \
    metal_runtime->access(from, bytes, metal_on_cpu::access_read, __builtin_return_address(0)); \
    metal_runtime->access(to, bytes, metal_on_cpu::access_write, __builtin_return_address(0)); \
    return metal_runtime->copy(to, from, bytes); \
  }
#define METAL_FILL(name) \
  METAL_HOOK void *name(void *to, int value, size_t bytes) { \
    metal_runtime->access(to, bytes, metal_on_cpu::access_write, __builtin_return_address(0)); \
    return metal_runtime->fill(to, value, bytes); \
  }
METAL_COPY(memcpy) METAL_COPY(memmove) METAL_COPY(__tsan_memcpy) METAL_COPY(__tsan_memmove)
METAL_FILL(memset) METAL_FILL(__tsan_memset)

// -fsanitize=integer-divide-by-zero,shift-exponent
#define METAL_UNDEFINED(name, kind, operand, ...) \
  METAL_HOOK void __ubsan_handle_##name(void *, ##__VA_ARGS__) { \
    metal_runtime->undefined(metal_on_cpu::kind, uint64_t(operand), __builtin_return_address(0)); \
  }
METAL_UNDEFINED(divrem_overflow, undefined_division, divisor, uintptr_t, uintptr_t divisor)
METAL_UNDEFINED(shift_out_of_bounds, undefined_shift, shift, uintptr_t, uintptr_t shift)

} // extern "C"
