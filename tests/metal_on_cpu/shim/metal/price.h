// Price mode: what the marks in basic blocks become (src/price/blocks.rs), and what clang's own marks would need.
#pragma once
#include "../runtime.h"

#define METAL_HOOK __attribute__((noinline, used, no_sanitize("coverage")))

extern "C" {

METAL_HOOK void metal_spend(uint32_t cycles) {
  if (metal_runtime) metal_runtime->spend(cycles);
}
METAL_HOOK void __sanitizer_cov_trace_pc_guard_init(uint32_t *, uint32_t *) {}

} // extern "C"
