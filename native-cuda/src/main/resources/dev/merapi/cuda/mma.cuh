// SPDX-License-Identifier: Apache-2.0
// Tensor-core and asynchronous-copy instructions, one wrapper each: inline PTX on the device; in the simulator a body
// that follows the register layouts that PTX documents for it. Needs compute capability 8.0.
namespace warps {
using namespace merapi;

// A warp's fragments of a 16-byte-wide operand, A of 16 rows and B of 8 columns, and of a result of 16 × 8. For 16-bit
// types a register holds two neighbours along k, for tf32 one number.
typedef u32 FragmentA[4];
typedef u32 FragmentB[2];
typedef float FragmentC[4];

#ifdef CUDASIM
// ---------------------------------------------------------------- asynchronous copies
// Nothing arrives before the wait, and until then the target holds rubbish: that finds a wait that is missing as well
// as a copy into what another thread still reads.
class Copies {
    static constexpr int kMost = 128;
    struct Copy {
        unsigned char* to;
        const unsigned char* from;
        int bytes, room;
        u32 group;
    };
    Copy copies[kMost];
    int count = 0;
    u32 group = 0;

    void add(void* to, const void* from, int bytes, int room) {
        if (((u64)from | (u64)to) % room != 0) cudasim::stop("asynchronous copy: an address is not aligned");
        if (count == kMost) cudasim::stop("more asynchronous copies than the simulator holds");
        copies[count++] = {(unsigned char*)to, (const unsigned char*)from, bytes, room, group};
        for (int i = 0; i < room; i++) ((unsigned char*)to)[i] = 0xff;
    }

 public:
    // 16 bytes to shared memory, of which the first `bytes` are read, and the others zeros.
    void add16(void* shared, const void* global, int bytes) { add(shared, global, bytes, 16); }
    void add4(void* shared, const void* global, int bytes) { add(shared, global, bytes, 4); }
    void commit() { group++; }
    // Waits for all groups but the last N that were committed.
    template <int N>
    void wait() {
        int kept = 0;
        for (int i = 0; i < count; i++) {
            const Copy c = copies[i];
            if (group - c.group > N) {
                for (int b = 0; b < c.room; b++) c.to[b] = b < c.bytes ? c.from[b] : 0;
            } else {
                copies[kept++] = c;
            }
        }
        count = kept;
    }
};

// ---------------------------------------------------------------- loads that may be left out
// *at, or zero where it is not there: by a predicate, where an if would make a branch for each, which takes long to compile.
template <class U>
inline U load_if(bool there, const U* at) {
    return there ? *at : U();
}
// The first n of eight neighbours, and zeros.
template <class U, int N>
inline void load_first(U (&v)[N], const U* at, int n) {
    for (int i = 0; i < N; i++) v[i] = load_if(i < n, at + i);
}

// ---------------------------------------------------------------- matrices from shared memory
namespace simulated {
CUDASIM_UNSEEN inline int lane() { return (int)cudasim::lane(); }
CUDASIM_UNSEEN inline unsigned long long of(const unsigned long long* published, int lane) { return published[lane]; }
inline u32 half(u32 word, int which) { return word >> 16 * which & 0xffff; }
}  // namespace simulated
// Four matrices of 8 lines of 16 bytes; lanes 8·i to 8·i + 7 give the lines of matrix i. Lane l gets word l % 4 of line
// l / 4 of each.
inline void load_matrices(u32 (&r)[4], const void* line) {
    const unsigned long long* lines = cudasim::exchange(0xffffffffu, (unsigned long long)line);
    const int l = simulated::lane();
    for (int i = 0; i < 4; i++) r[i] = ((const u32*)simulated::of(lines, 8 * i + l / 4))[l % 4];
}
// The same of matrices of 16-bit elements, transposed.
inline void load_matrices_transposed(u32 (&r)[4], const void* line) {
    const unsigned long long* lines = cudasim::exchange(0xffffffffu, (unsigned long long)line);
    const int l = simulated::lane();
    for (int i = 0; i < 4; i++) {
        u32 low = ((const unsigned short*)simulated::of(lines, 8 * i + l % 4 * 2))[l / 4];
        u32 high = ((const unsigned short*)simulated::of(lines, 8 * i + l % 4 * 2 + 1))[l / 4];
        r[i] = low | high << 16;
    }
}

// ---------------------------------------------------------------- two floats, rounded, in a register
inline u32 packed(bf16, float low, float high) { return f32_to_bf16(low) | (u32)f32_to_bf16(high) << 16; }
inline u32 packed(f16, float low, float high) { return f32_to_f16(low) | (u32)f32_to_f16(high) << 16; }

// ---------------------------------------------------------------- logarithms
// To 2^-22, which is enough beside 16-bit types; of normal numbers.
inline float quick_log2(float x) { return log2f(x); }

// ---------------------------------------------------------------- products
namespace simulated {
struct Operands {
    u32 a[4], b[2];
};
// k: elements along k of a register. Row r of A is in lanes 4·(r % 8) and the next three, column n of B in lanes 4·n.
template <int EACH, class F>
CUDASIM_UNSEEN void mma(FragmentC& c, const FragmentA& a, const FragmentB& b, F value) {
    const Operands mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    const unsigned long long* all = cudasim::exchange(0xffffffffu, (unsigned long long)&mine);
    const int l = lane(), g = l / 4, t = l % 4;
    for (int j = 0; j < 4; j++) {
        const int r = g + j / 2 * 8, n = t * 2 + j % 2;
        float sum = 0;
        for (int k = 0; k < 8 * EACH; k++) {
            const int high = k / (4 * EACH), at = k % (4 * EACH) / EACH, e = k % EACH;
            const Operands* pa = (const Operands*)all[r % 8 * 4 + at];
            const Operands* pb = (const Operands*)all[n * 4 + at];
            sum += value(pa->a[r / 8 + high * 2], e) * value(pb->b[high], e);
        }
        c[j] += sum;
    }
    // The operands are on the lanes' stacks: nobody leaves before all have read them.
    cudasim::exchange(0xffffffffu, 0);
}
}  // namespace simulated
inline void mma(bf16, FragmentC& c, const FragmentA& a, const FragmentB& b) {
    simulated::mma<2>(c, a, b, [](u32 w, int e) { return __uint_as_float(simulated::half(w, e) << 16); });
}
inline void mma(f16, FragmentC& c, const FragmentA& a, const FragmentB& b) {
    simulated::mma<2>(c, a, b, [](u32 w, int e) { return f16_to_f32((unsigned short)simulated::half(w, e)); });
}
// tf32: the lowest 13 bits of each number are not looked at.
inline void mma(float, FragmentC& c, const FragmentA& a, const FragmentB& b) {
    simulated::mma<1>(c, a, b, [](u32 w, int) { return __uint_as_float(w & ~0x1fffu); });
}
// To the nearest tf32, ties away from zero.
inline u32 f32_to_tf32(u32 u) { return (u & 0x7fffffff) > 0x7f800000 ? 0x7fffffffu : (u + 0x1000) & ~0x1fffu; }
#else
MERAPI_F u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
struct Copies {
    MERAPI_F void add16(void* shared, const void* global, int bytes) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                     :
                     : "r"(shared_address(shared)), "l"(global), "r"(bytes)
                     : "memory");
    }
    MERAPI_F void add4(void* shared, const void* global, int bytes) {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
                     :
                     : "r"(shared_address(shared)), "l"(global), "r"(bytes)
                     : "memory");
    }
    MERAPI_F void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
    template <int N>
    MERAPI_F void wait() {
        asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
    }
};
MERAPI_F unsigned char load_if(bool there, const unsigned char* at) {
    unsigned short r;
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.s32 p, %2, 0;\nmov.b16 %0, 0;\n@p ld.global.u8 %0, [%1];\n}"
        : "=h"(r)
        : "l"(at), "r"((int)there)
        : "memory");
    return (unsigned char)r;
}
template <class U>
MERAPI_F U load_if(bool there, const U* at) {
    static_assert(sizeof(U) == 2, "of 16 bits");
    union {
        unsigned short bits;
        U value;
    } r;
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.s32 p, %2, 0;\nmov.b16 %0, 0;\n@p ld.global.b16 %0, [%1];\n}"
        : "=h"(r.bits)
        : "l"(at), "r"((int)there)
        : "memory");
    return r.value;
}
template <class U, int N>
MERAPI_F void load_first(U (&v)[N], const U* at, int n) {
    static_assert(sizeof(U) == 2 && N == 8, "eight of 16 bits");
    u32* const pairs = (u32*)v;
    asm volatile(
        "{\n.reg .pred p;\n.reg .b16 l, h;\n"
#define MERAPI_PAIR(WORD, LOW, LOW_AT, HIGH, HIGH_AT)                                                     \
    "setp.gt.s32 p, %5, " LOW ";\nmov.b16 l, 0;\n@p ld.global.b16 l, [%4 + " LOW_AT "];\n"               \
    "setp.gt.s32 p, %5, " HIGH ";\nmov.b16 h, 0;\n@p ld.global.b16 h, [%4 + " HIGH_AT "];\n"             \
    "mov.b32 " WORD ", {l, h};\n"
        MERAPI_PAIR("%0", "0", "0", "1", "2") MERAPI_PAIR("%1", "2", "4", "3", "6")
        MERAPI_PAIR("%2", "4", "8", "5", "10") MERAPI_PAIR("%3", "6", "12", "7", "14") "}"
        : "=&r"(pairs[0]), "=&r"(pairs[1]), "=&r"(pairs[2]), "=&r"(pairs[3])
        : "l"(at), "r"(n)
        : "memory");
}
MERAPI_F void load_matrices(u32 (&r)[4], const void* line) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(line))
                 : "memory");
}
MERAPI_F void load_matrices_transposed(u32 (&r)[4], const void* line) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(line))
                 : "memory");
}
#define MERAPI_PACKED(T, TYPE)                                                             \
    MERAPI_F u32 packed(T, float low, float high) {                                        \
        u32 r;                                                                             \
        asm("cvt.rn." TYPE ".f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));            \
        return r;                                                                          \
    }
MERAPI_PACKED(bf16, "bf16x2")
MERAPI_PACKED(f16, "f16x2")
MERAPI_F float quick_log2(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#define MERAPI_MMA(T, SHAPE, TYPE)                                                          \
    MERAPI_F void mma(T, FragmentC& c, const FragmentA& a, const FragmentB& b) {            \
        asm volatile("mma.sync.aligned." SHAPE ".row.col.f32." TYPE "." TYPE                \
                     ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                       \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));   \
    }
MERAPI_MMA(bf16, "m16n8k16", "bf16")
MERAPI_MMA(f16, "m16n8k16", "f16")
MERAPI_MMA(float, "m16n8k8", "tf32")
MERAPI_F u32 f32_to_tf32(u32 u) {
    u32 r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(__uint_as_float(u)));
    return r;
}
#endif
}  // namespace warps
