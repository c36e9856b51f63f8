// SPDX-License-Identifier: Apache-2.0
// CUDA C++ on the host's compiler: language, built-in variables, barriers, warp operations, atomics and device
// functions. Includes nothing, so that a kernel compiles in some 50 ms; the engine that switches threads is in the JNI
// library.
#pragma once

#define CUDASIM 1
#define __CUDA_ARCH__ 800
#define __global__
#define __device__
#define __host__
#define __constant__ static
// Kept as it stands: the compiler would drop what it sees nobody read, or write, and the checks would never hear of it.
#define __shared__ static thread_local __attribute__((used))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define CUDASIM_EXPORT extern "C" __attribute__((visibility("default")))

// Of functions of this header: what they load and store is not the kernel's doing.
#ifdef CUDASIM_CHECKED
#define CUDASIM_UNSEEN __attribute__((no_sanitize("thread")))
#else
#define CUDASIM_UNSEEN
#endif
// What they load and store is its doing, at the line that calls them.
#define CUDASIM_INLINE inline __attribute__((always_inline))

typedef unsigned int uint;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long int64_t;
typedef unsigned long uint64_t;
typedef __SIZE_TYPE__ size_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __INTPTR_TYPE__ intptr_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;

#define CUDASIM_VECTORS(T, N)                                                      \
    struct __align__(2 * sizeof(T)) N##2 { T x, y; };                              \
    struct N##3 { T x, y, z; };                                                    \
    struct __align__((sizeof(T) > 4 ? 16 : 4 * sizeof(T))) N##4 { T x, y, z, w; }; \
    inline N##2 make_##N##2(T x, T y) { return {x, y}; }                           \
    inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                   \
    inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDASIM_VECTORS(float, float)
CUDASIM_VECTORS(double, double)
CUDASIM_VECTORS(char, char)
CUDASIM_VECTORS(uchar, uchar)
CUDASIM_VECTORS(short, short)
CUDASIM_VECTORS(ushort, ushort)
CUDASIM_VECTORS(int, int)
CUDASIM_VECTORS(uint, uint)
CUDASIM_VECTORS(long long, longlong)
CUDASIM_VECTORS(unsigned long long, ulonglong)

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

static thread_local cudasim::Dim threadIdx, blockIdx, blockDim, gridDim;
static constexpr int warpSize = 32;

namespace cudasim {
static thread_local void* dynamic_shared;
static const Engine* engine;

CUDASIM_UNSEEN inline unsigned lane() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) & 31;
}
template <class T>
unsigned long long bits(T value) {
    static_assert(sizeof(T) <= 8, "warp operations move at most 8 bytes");
    unsigned long long all = 0;
    __builtin_memcpy(&all, &value, sizeof value);
    return all;
}
template <class T>
T unbits(unsigned long long all) {
    T value;
    __builtin_memcpy(&value, &all, sizeof value);
    return value;
}
template <class T>
struct same {
    typedef T type;
};
template <class T>
struct unreferenced {
    typedef T type;
};
template <class T>
struct unreferenced<const T> {
    typedef T type;
};
template <int... I>
struct indices {};
template <int N, int... I>
struct counted : counted<N - 1, N - 1, I...> {};
template <int... I>
struct counted<0, I...> {
    typedef indices<I...> type;
};
template <class... P, int... I>
CUDASIM_UNSEEN inline void call(void (*kernel)(P...), void** arguments, indices<I...>) {
    (void)arguments;
    kernel(*static_cast<typename unreferenced<P>::type*>(arguments[I])...);
}
// Arguments as cuLaunchKernel takes them: one address each.
template <class... P>
CUDASIM_UNSEEN inline void call(void (*kernel)(P...), void** arguments) {
    call(kernel, arguments, typename counted<sizeof...(P)>::type());
}
// How large they are, as an image for a GPU tells too; returns how many.
template <class... P>
CUDASIM_UNSEEN inline int sizes(void (*)(P...), int* out) {
    int all[] = {0, static_cast<int>(sizeof(P))...};
    for (unsigned i = 0; i < sizeof...(P); i++) out[i] = all[i + 1];
    return sizeof...(P);
}
}  // namespace cudasim

CUDASIM_EXPORT CUDASIM_UNSEEN void cudasim_bind(const cudasim::Engine* engine, cudasim::Variables* variables) {
    cudasim::engine = engine;
    variables->threadIdx = &threadIdx;
    variables->blockIdx = &blockIdx;
    variables->blockDim = &blockDim;
    variables->gridDim = &gridDim;
    variables->dynamic = &cudasim::dynamic_shared;
}

// ---------------------------------------------------------------- barriers and warps
namespace cudasim {
CUDASIM_UNSEEN inline int barrier(int vote, int site) { return engine->block_barrier(vote, site); }
CUDASIM_UNSEEN inline const unsigned long long* exchange(unsigned mask, unsigned long long value) {
    return engine->warp_exchange(mask, value);
}
CUDASIM_UNSEEN inline void stop(const char* why) { engine->fail(why); }
}  // namespace cudasim
#define __syncthreads() ((void)cudasim::barrier(0, __LINE__))
#define __syncthreads_count(p) cudasim::barrier((p) ? 1 : 0, __LINE__)
#define __syncthreads_or(p) (cudasim::barrier((p) ? 1 : 0, __LINE__) != 0)
#define __syncthreads_and(p) (cudasim::barrier((p) ? 0 : 1, __LINE__) == 0)
#define __trap() cudasim::stop("__trap() was called")
#define assert(p) ((p) ? (void)0 : cudasim::stop("assertion failed: " #p))

CUDASIM_UNSEEN inline unsigned __activemask() { return cudasim::engine->active_mask(); }
inline void __syncwarp(unsigned mask = ~0u) { cudasim::exchange(mask & __activemask(), 0); }
template <class T>
CUDASIM_UNSEEN T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    int lane = cudasim::lane();
    const unsigned long long* all = cudasim::exchange(mask, cudasim::bits(value));
    return cudasim::unbits<T>(all[(lane & ~(width - 1)) | (source & (width - 1))]);
}
template <class T>
CUDASIM_UNSEEN T __shfl_xor_sync(unsigned mask, T value, int by, int width = 32) {
    int lane = cudasim::lane(), other = lane ^ by;
    const unsigned long long* all = cudasim::exchange(mask, cudasim::bits(value));
    return (other & ~(width - 1)) > (lane & ~(width - 1)) ? value : cudasim::unbits<T>(all[other & 31]);
}
template <class T>
CUDASIM_UNSEEN T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
    int lane = cudasim::lane();
    const unsigned long long* all = cudasim::exchange(mask, cudasim::bits(value));
    return (lane & (width - 1)) + int(by) >= width ? value : cudasim::unbits<T>(all[lane + by]);
}
template <class T>
CUDASIM_UNSEEN T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
    int lane = cudasim::lane();
    const unsigned long long* all = cudasim::exchange(mask, cudasim::bits(value));
    return (lane & (width - 1)) < int(by) ? value : cudasim::unbits<T>(all[lane - by]);
}
CUDASIM_UNSEEN inline unsigned __ballot_sync(unsigned mask, int p) {
    mask &= __activemask();
    const unsigned long long* all = cudasim::exchange(mask, p != 0);
    unsigned result = 0;
    for (int i = 0; i < 32; i++) result |= (mask >> i & 1) && all[i] ? 1u << i : 0;
    return result;
}
inline int __any_sync(unsigned mask, int p) { return __ballot_sync(mask, p) != 0; }
inline int __all_sync(unsigned mask, int p) { return __ballot_sync(mask, p) == (mask & __activemask()); }
template <class T>
CUDASIM_UNSEEN unsigned __match_any_sync(unsigned mask, T value) {
    mask &= __activemask();
    unsigned long long mine = cudasim::bits(value);
    const unsigned long long* all = cudasim::exchange(mask, mine);
    unsigned result = 0;
    for (int i = 0; i < 32; i++) result |= (mask >> i & 1) && all[i] == mine ? 1u << i : 0;
    return result;
}
#define CUDASIM_WARP_REDUCE(NAME, EXPRESSION)                                          \
    template <class T>                                                                 \
    CUDASIM_UNSEEN T NAME(unsigned mask, T value) {                                    \
        mask &= __activemask();                                                        \
        const unsigned long long* all = cudasim::exchange(mask, cudasim::bits(value)); \
        bool first = true;                                                             \
        T a = value;                                                                   \
        for (int i = 0; i < 32; i++) {                                                 \
            if (mask >> i & 1) {                                                       \
                T b = cudasim::unbits<T>(all[i]);                                      \
                a = first ? b : EXPRESSION;                                            \
                first = false;                                                         \
            }                                                                          \
        }                                                                              \
        return a;                                                                      \
    }
CUDASIM_WARP_REDUCE(__reduce_add_sync, T(a + b))
CUDASIM_WARP_REDUCE(__reduce_max_sync, (a > b ? a : b))
CUDASIM_WARP_REDUCE(__reduce_min_sync, (a < b ? a : b))
CUDASIM_WARP_REDUCE(__reduce_or_sync, (a | b))
CUDASIM_WARP_REDUCE(__reduce_and_sync, (a & b))
CUDASIM_UNSEEN inline void __threadfence() {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#ifdef CUDASIM_CHECKED
    cudasim::engine->fence();
#endif
}
inline void __threadfence_block() {}
inline void __threadfence_system() { __threadfence(); }

// ---------------------------------------------------------------- atomics: real ones, since blocks may run in parallel
namespace cudasim {
template <int N>
struct word {
    typedef unsigned short type;
};
template <>
struct word<4> {
    typedef unsigned type;
};
template <>
struct word<8> {
    typedef unsigned long long type;
};
template <class T, class F>
CUDASIM_INLINE T atomically(T* at, F f) {
    typedef typename word<sizeof(T)>::type W;
    W* raw = reinterpret_cast<W*>(at);
    W old = __atomic_load_n(raw, __ATOMIC_RELAXED);
    for (;;) {
        T before;
        __builtin_memcpy(&before, &old, sizeof before);
        T after = f(before);
        W fresh;
        __builtin_memcpy(&fresh, &after, sizeof fresh);
        if (__atomic_compare_exchange_n(raw, &old, fresh, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) return before;
    }
}
}  // namespace cudasim
#define CUDASIM_ATOMIC(NAME, EXPRESSION)                                         \
    template <class T>                                                           \
    CUDASIM_INLINE T NAME(T* at, typename cudasim::same<T>::type b) {            \
        return cudasim::atomically(at, [=](T a) -> T { return T(EXPRESSION); }); \
    }
CUDASIM_ATOMIC(atomicAdd, a + b)
CUDASIM_ATOMIC(atomicSub, a - b)
CUDASIM_ATOMIC(atomicMax, (a > b ? a : b))
CUDASIM_ATOMIC(atomicMin, (a < b ? a : b))
CUDASIM_ATOMIC(atomicExch, ((void)a, b))
CUDASIM_ATOMIC(atomicAnd, a& b)
CUDASIM_ATOMIC(atomicOr, a | b)
CUDASIM_ATOMIC(atomicXor, a ^ b)
CUDASIM_ATOMIC(atomicInc, (a >= b ? 0 : a + 1))
CUDASIM_ATOMIC(atomicDec, (a == 0 || a > b ? b : a - 1))
template <class T>
CUDASIM_INLINE T atomicCAS(T* at, typename cudasim::same<T>::type expected, typename cudasim::same<T>::type value) {
    return cudasim::atomically(at, [=](T a) -> T { return a == expected ? value : a; });
}

// ---------------------------------------------------------------- loads and stores with cache hints
template <class T>
CUDASIM_INLINE T __ldg(const T* p) {
    return *p;
}
template <class T>
CUDASIM_INLINE T __ldcs(const T* p) {
    return *p;
}
template <class T>
CUDASIM_INLINE T __ldcg(const T* p) {
    return *p;
}
template <class T>
CUDASIM_INLINE void __stcs(T* p, typename cudasim::same<T>::type v) {
    *p = v;
}
template <class T>
CUDASIM_INLINE void __stcg(T* p, typename cudasim::same<T>::type v) {
    *p = v;
}

// ---------------------------------------------------------------- device functions
#define CUDASIM_UNARY(N)                   \
    extern "C" double N(double) noexcept;  \
    extern "C" float N##f(float) noexcept; \
    inline float N(float x) { return N##f(x); }
#define CUDASIM_BINARY(N)                         \
    extern "C" double N(double, double) noexcept; \
    extern "C" float N##f(float, float) noexcept; \
    inline float N(float x, float y) { return N##f(x, y); }
// clang-format off: the macros end without a semicolon
CUDASIM_UNARY(fabs)
CUDASIM_UNARY(sqrt)
CUDASIM_UNARY(cbrt)
CUDASIM_UNARY(exp)
CUDASIM_UNARY(exp2)
CUDASIM_UNARY(expm1)
CUDASIM_UNARY(log)
CUDASIM_UNARY(log2)
CUDASIM_UNARY(log10)
CUDASIM_UNARY(log1p)
CUDASIM_UNARY(sin)
CUDASIM_UNARY(cos)
CUDASIM_UNARY(tan)
CUDASIM_UNARY(asin)
CUDASIM_UNARY(acos)
CUDASIM_UNARY(atan)
CUDASIM_UNARY(sinh)
CUDASIM_UNARY(cosh)
CUDASIM_UNARY(tanh)
CUDASIM_UNARY(asinh)
CUDASIM_UNARY(acosh)
CUDASIM_UNARY(atanh)
CUDASIM_UNARY(erf)
CUDASIM_UNARY(erfc)
CUDASIM_UNARY(tgamma)
CUDASIM_UNARY(lgamma)
CUDASIM_UNARY(floor)
CUDASIM_UNARY(ceil)
CUDASIM_UNARY(trunc)
CUDASIM_UNARY(rint)
CUDASIM_UNARY(round)
CUDASIM_UNARY(nearbyint)
CUDASIM_BINARY(pow)
CUDASIM_BINARY(fmod)
CUDASIM_BINARY(remainder)
CUDASIM_BINARY(atan2)
CUDASIM_BINARY(copysign)
CUDASIM_BINARY(fmin)
CUDASIM_BINARY(fmax)
CUDASIM_BINARY(fdim)
CUDASIM_BINARY(hypot)
// clang-format on
extern "C" double fma(double, double, double) noexcept;
extern "C" float fmaf(float, float, float) noexcept;
extern "C" double ldexp(double, int) noexcept;
extern "C" float ldexpf(float, int) noexcept;
extern "C" int printf(const char*, ...);
inline float fma(float a, float b, float c) { return fmaf(a, b, c); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline int abs(int x) { return x < 0 ? -x : x; }
inline long long abs(long long x) { return x < 0 ? -x : x; }
inline long long llabs(long long x) { return x < 0 ? -x : x; }
inline float abs(float x) { return fabsf(x); }
inline double abs(double x) { return fabs(x); }
template <class T, class U>
auto min(T a, U b) -> decltype(a + b) {
    return a < b ? a : b;
}
template <class T, class U>
auto max(T a, U b) -> decltype(a + b) {
    return a < b ? b : a;
}
#define isnan(x) __builtin_isnan(x)
#define isinf(x) (__builtin_isinf_sign(x) != 0)
#define isfinite(x) __builtin_isfinite(x)
#define signbit(x) __builtin_signbit(x)
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")

inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return powf(10.0f, x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline void __sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
inline void sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __saturatef(float x) { return x > 0 ? x > 1 ? 1 : x : 0; }
inline int __float_as_int(float f) { return cudasim::unbits<int>(cudasim::bits(f)); }
inline unsigned __float_as_uint(float f) { return cudasim::unbits<unsigned>(cudasim::bits(f)); }
inline float __int_as_float(int i) { return cudasim::unbits<float>(cudasim::bits(i)); }
inline float __uint_as_float(unsigned i) { return cudasim::unbits<float>(cudasim::bits(i)); }
inline long long __double_as_longlong(double d) { return cudasim::unbits<long long>(cudasim::bits(d)); }
inline double __longlong_as_double(long long i) { return cudasim::unbits<double>(cudasim::bits(i)); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
    unsigned r = 0;
    for (int i = 0; i < 32; i++) r |= (x >> i & 1) << (31 - i);
    return r;
}
inline long long clock64() { return 0; }
inline void __nanosleep(unsigned) {}
