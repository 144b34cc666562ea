// Arrays of constant size, as members of the structs that naga writes for them.
#pragma once
#include "../runtime.h"

namespace metal {

using uchar = unsigned char;
using ushort = unsigned short;
using uint = unsigned int;
using ulong = unsigned long;

// An index of `size` elements, or of vectors' components.
SHIM uint index(uint i, uint size) {
#ifdef METAL_CHECK
  if (i >= size) metal_on_cpu::index_out_of_bounds(i);
#else
  (void)size;
#endif
  return i;
}

#ifdef METAL_CHECK
// -fsanitize=array-bounds lets the last member of a struct have any length, and the address behind the end be taken.
template <class T, size_t N> struct array {
  T d[N];
  SHIM T &operator[](uint i) { return d[index(i, N)]; }
  SHIM const T &operator[](uint i) const { return d[index(i, N)]; }
};
#else
template <class T, size_t N> using array = T[N];
#endif

} // namespace metal
