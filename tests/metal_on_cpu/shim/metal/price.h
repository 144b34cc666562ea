// Price mode: what the marks in basic blocks become and what precedes accesses (src/price/blocks.rs), and what clang's own marks would need.
#pragma once
#include "../runtime.h"

#define METAL_HOOK __attribute__((noinline, used, no_sanitize("coverage")))

extern "C" {

METAL_HOOK void metal_spend(uint32_t cycles, uint32_t complex, uint32_t latency, uint64_t arithmetic, uint64_t memory) {
  if (metal_runtime) metal_runtime->spend(cycles, complex, latency, arithmetic, memory);
}
METAL_HOOK void metal_touch(const void *at, uint32_t bytes, uint32_t kinds) { metal_runtime->access(at, bytes, kinds, nullptr); }
METAL_HOOK void __sanitizer_cov_trace_pc_guard_init(uint32_t *, uint32_t *) {}

} // extern "C"
