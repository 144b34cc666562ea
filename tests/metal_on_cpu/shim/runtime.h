// What a compiled kernel and its Rust runtime share; `src/execute/abi.rs` is the other side.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define METAL_INLINE __attribute__((always_inline))
// All of the shim that touches the kernel's memory is inlined, so that an access belongs to the line of Metal that makes it.
#define SHIM inline METAL_INLINE
// What touches the runtime's memory stays outside of the kernel's code, where check mode does not look, and price mode does not count.
#if defined(METAL_CHECK) || defined(METAL_PRICE)
#define SHIM_RUNTIME inline __attribute__((noinline, no_sanitize("thread")))
#else
#define SHIM_RUNTIME SHIM
#endif

namespace metal_on_cpu {

// What the threads of a SIMD group handed in at one call.
struct exchange {
  const unsigned char (*values)[16];
  uint32_t active; // a bit per lane
  uint32_t lane;   // of the calling thread
};

enum access_kind : uint32_t { access_read = 1, access_write = 2, access_atomic = 4 };
enum undefined_kind : uint32_t { undefined_index, undefined_division, undefined_shift };

struct runtime {
  // Waits for all threads of the threadgroup.
  void (*threadgroup_barrier)(uint32_t flags, uint32_t line);
  // Waits for all threads of the SIMD group.
  void (*simdgroup_barrier)(uint32_t flags, uint32_t line);
  // Waits for all threads of the SIMD group, which hand in up to 16 bytes each.
  const exchange *(*simdgroup_exchange)(const void *value, size_t bytes, uint32_t line);
  // Whether a weak compare-exchange is to fail without reason.
  bool (*fails_spuriously)();
  // Check mode: an access by the code at `site`. Does not return if it must not happen. Price mode: any load or store.
  void (*access)(const void *at, size_t bytes, uint32_t kinds, const void *site);
  // Check mode: memmove and memset on memory that access() let pass.
  void *(*copy)(void *to, const void *from, size_t bytes);
  void *(*fill)(void *to, int value, size_t bytes);
  // Check mode: undefined behaviour of the code at `site`. Does not return if it would trap.
  void (*undefined)(uint32_t kind, uint64_t operand, const void *site);
  // Price mode: the thread has begun a basic block; its cycles, and its instructions, three counts of 21 bits in a word.
  void (*spend)(uint32_t cycles, uint32_t complex, uint32_t latency, uint64_t arithmetic, uint64_t memory);
};

// One threadgroup of a dispatch, as its threads see it.
struct launch {
  void *const *buffers;   // by slot
  void *const *variables; // threadgroup memory
  uint32_t grid[3];
  uint32_t group[3];
};

// An argument of the entry point: a reference to whatever type it declares.
struct argument {
  void *at;
  template <class T> operator T &() const { return *static_cast<T *>(at); }
};

} // namespace metal_on_cpu

extern "C" const metal_on_cpu::runtime *metal_runtime;
