// Vectors of 2 to 4 components and the operators on them.
#pragma once
#include "../runtime.h"
#include "array.h"
#include "../swizzles.h" // generated: METAL_SWIZZLES_2 to _4, a member `xy`, `xyz`, ... for every choice of components

namespace metal {

// What clang's vectors have in place of T: they know no bool.
template <class T> struct stored { using type = T; };
template <> struct stored<bool> { using type = uchar; };
template <class T, int N> using native = typename stored<T>::type __attribute__((ext_vector_type(N)));

template <bool, class T> struct if_true {};
template <class T> struct if_true<true, T> { using type = T; };

template <class T, int N> struct vec;

// packed_uint3 and the like: as long and as aligned as its components.
template <class T, int N> struct packed;

// What a value is made of; scalars have size 0.
template <class A> struct shape { using component = A; static constexpr int size = 0, places = 1; };
template <class T, int N> struct shape<vec<T, N>> { using component = T; static constexpr int size = N, places = N; };
template <class T, int N> struct shape<packed<T, N>> : shape<vec<T, N>> {};

// The components I... of M, read as the vector V. (V is a template argument so that its operators are found.)
template <class V, int M, int... I> struct swizzle {
  typename shape<V>::component d[M];
  SHIM operator V() const { return V(d[I]...); }
};
template <class V, int M, int... I> struct shape<swizzle<V, M, I...>> : shape<V> {};

template <class T, int N> struct components;
template <class T> struct components<T, 2> {
  union { T d[2]; native<T, 2> v; struct { T x, y; }; METAL_SWIZZLES_2 };
};
template <class T> struct components<T, 3> {
  union { T d[3]; native<T, 3> v; struct { T x, y, z; }; METAL_SWIZZLES_3 };
};
template <class T> struct components<T, 4> {
  union { T d[4]; native<T, 4> v; struct { T x, y, z, w; }; METAL_SWIZZLES_4 };
};

template <class A> SHIM typename shape<A>::component at(const A &a, int i) {
  if constexpr (shape<A>::size == 0) return a; else return a.d[i];
}
template <class V, int M, int... I> SHIM typename shape<V>::component at(const swizzle<V, M, I...> &a, int i) {
  constexpr int from[] = {I...};
  return a.d[from[i]];
}

// f on each component; a scalar meets every component.
template <class F, class... A> SHIM auto lift(F f, const A &...a) {
  constexpr int size = [] { int most = 0; ((most = shape<A>::size > most ? shape<A>::size : most), ...); return most; }();
  static_assert(((shape<A>::size == 0 || shape<A>::size == size) && ...), "vectors of different sizes");
  if constexpr (size == 0) {
    return f(a...);
  } else {
    vec<decltype(f(at(a, 0)...)), size> r;
    for (int i = 0; i < size; i++) r.d[i] = f(at(a, i)...);
    return r;
  }
}

template <class T, int N> struct vec : components<T, N> {
  using components<T, N>::d;
  using components<T, N>::v;

  vec() = default;
  SHIM vec(T a) { for (int i = 0; i < N; i++) d[i] = a; }
  // From values that have N components together.
  template <class... A, typename if_true<(shape<A>::places + ... + 0) == N, int>::type = 0>
  SHIM explicit vec(const A &...a) { int i = 0; (append(i, a), ...); }
  SHIM static vec from(native<T, N> value) { vec r; r.v = value; return r; }

  SHIM T &operator[](uint i) { return d[index(i, N)]; }
  SHIM const T &operator[](uint i) const { return d[index(i, N)]; }

#define METAL_BINARY(op) \
  SHIM friend vec operator op(const vec &a, const vec &b) { return from(a.v op b.v); } \
  SHIM vec &operator op##=(const vec &b) { return *this = *this op b; }
  METAL_BINARY(+) METAL_BINARY(-) METAL_BINARY(*) METAL_BINARY(&) METAL_BINARY(|) METAL_BINARY(^)
#undef METAL_BINARY

#define METAL_COMPARISON(op) \
  SHIM friend vec<bool, N> operator op(const vec &a, const vec &b) { return truth(a.v op b.v); }
  METAL_COMPARISON(==) METAL_COMPARISON(!=) METAL_COMPARISON(<) METAL_COMPARISON(>) METAL_COMPARISON(<=) METAL_COMPARISON(>=)
#undef METAL_COMPARISON

  SHIM friend vec operator-(const vec &a) { return from(-a.v); }
  SHIM friend vec operator~(const vec &a) { return from(~a.v); }
  SHIM friend vec<bool, N> operator!(const vec &a) { return truth(a.v == 0); }

private:
  template <class A> SHIM void append(int &i, const A &a) {
    for (int k = 0; k < shape<A>::places; k++) d[i++] = static_cast<T>(at(a, k));
  }
  // clang's comparisons say -1 for true.
  template <class Mask> SHIM static vec<bool, N> truth(Mask mask) {
    return vec<bool, N>::from(__builtin_convertvector(mask, native<bool, N>) & 1);
  }
};

// Component by component, so that the sanitizer looks at each.
#define METAL_CHECKED(op) \
  template <class T, int N, class B> SHIM vec<T, N> operator op(const vec<T, N> &a, const B &b) { \
    return lift([](T x, auto y) METAL_INLINE -> T { return x op y; }, a, b); \
  } \
  template <class T, int N, class B> SHIM vec<T, N> &operator op##=(vec<T, N> &a, const B &b) { return a = a op b; }
METAL_CHECKED(/) METAL_CHECKED(%) METAL_CHECKED(<<) METAL_CHECKED(>>)
#undef METAL_CHECKED

template <class T, int N> struct packed {
  T d[N];
  packed() = default;
  template <class A> SHIM packed(const A &a) { for (int i = 0; i < N; i++) d[i] = static_cast<T>(at(a, i)); }
  SHIM operator vec<T, N>() const { return vec<T, N>(*this); }
  SHIM T &operator[](uint i) { return d[index(i, N)]; }
  SHIM const T &operator[](uint i) const { return d[index(i, N)]; }
};

#define METAL_VECTORS(T) \
  using T##2 = vec<T, 2>; using T##3 = vec<T, 3>; using T##4 = vec<T, 4>; \
  using packed_##T##2 = packed<T, 2>; using packed_##T##3 = packed<T, 3>; using packed_##T##4 = packed<T, 4>;
METAL_VECTORS(bool) METAL_VECTORS(char) METAL_VECTORS(uchar) METAL_VECTORS(int) METAL_VECTORS(uint)
METAL_VECTORS(long) METAL_VECTORS(ulong) METAL_VECTORS(float)
#undef METAL_VECTORS

} // namespace metal

// Of what Metal has outside of its namespace, that which naga writes; `uint` it declares itself.
using metal::uchar; using metal::ulong;
using metal::uint2; using metal::uint3; using metal::uint4;
using metal::packed_char4; using metal::packed_uchar4;

template <class R, class A> SHIM R as_type(const A &a) {
  static_assert(sizeof(R) == sizeof(A), "as_type between types of different sizes");
  R r;
  __builtin_memcpy(&r, &a, sizeof r);
  return r;
}
