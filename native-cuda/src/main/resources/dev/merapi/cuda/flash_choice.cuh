// SPDX-License-Identifier: Apache-2.0
// What attention may be told beside its operands, for the kernels of flash.cuh; what is not asked for costs nothing.
// MASK: 0, none; 1, bool; 2, of T, which is added to the scores. DROPOUT: whether weights are dropped.
// See Note [Dropped weights] in Attention.java.
namespace flash {
#if MASK == 2
typedef T Mask;
#else
typedef unsigned char Mask;
#endif

struct Options {
    Strides mask;
    i64 adds, threshold;
    double kept;
    i64 seed, offset;
};

// Of one head. A lane of a warp has the scores s[n][e] of rows g and g + 8 and of columns 8·n + 2·t and the next one, as
// mma leaves them: rows are queries and columns keys, or where it says KEYS the other way round.
struct Choice {
    const Options& o;
    const Mask* mask;
    u64 first, step;  // of the blocks of numbers: of query 0, and from a query to the next

    MERAPI_F Choice(const Options& options, const Problem& p, const void* matrix, const i64* base, int b, int h)
        : o(options), mask((const Mask*)matrix) {
        if (MASK) mask += b * o.mask.b + h * o.mask.h;
        const u64 words = (u64)(p.keys + 3) / 4;
        step = p.batch * p.heads * words;
        first = DROPOUT ? o.offset + (base ? (u64)*base : 0) + (b * p.heads + h) * words : 0;
    }

    // What is added to a score, times log2 e; −∞ hides the key.
    MERAPI_F float added(bool there, int query, int key) const {
        if (!MASK) return 0;
        const Mask m = load_if(there, mask + query * o.mask.t + key * o.mask.d);
#if MASK == 2
        return rd(m) * kLog2e;
#else
        return m ? 0.0f : -infinity(0.0f);
#endif
    }

    MERAPI_F bool keeps(u32 number) const { return (u64)number >= (u64)o.threshold; }
    MERAPI_F philox::Block numbers(int query, int keys) const {
        return philox::block((u64)o.seed, first + query * step + (keys >> 2));
    }
    // The factor of one weight.
    MERAPI_F float factor(int query, int key) const {
        if (!DROPOUT) return 1;
        return keeps(pick(numbers(query, key), key & 3)) ? (float)o.kept : 0.0f;
    }
    static MERAPI_F u32 pick(const philox::Block& block, int lane) {
        const u32 even = lane & 2 ? block.lane[2] : block.lane[0], odd = lane & 2 ? block.lane[3] : block.lane[1];
        return lane & 1 ? odd : even;
    }

    // Which weights of 16 rows and 8·N columns are kept: bit 4·n + e says it of s[n][e]. The four numbers of a block belong
    // to neighbouring keys, which several lanes have: each draws some of the blocks, and hands on what is another's. In a
    // loop, not unrolled: a block takes some 60 instructions.
    template <bool KEYS, int N>
    MERAPI_F u32 kept(int row, int column) const {
        if (!DROPOUT) return 0;
        const int g = lane() / 4, t = lane() % 4;
        u32 bits = 0;
#pragma unroll 1
        for (int turn = 0; turn < N; turn++) {
            if (KEYS) {
                // Lanes of four keys, by four queries.
                const int h = turn / (N / 2), y = turn % (N / 2) * 4, own = g & 3, at = y + own;
                const philox::Block block = numbers(column + at / 2 * 8 + t * 2 + at % 2, row + g + h * 8);
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    const u32 number = __shfl_xor_sync(0xffffffffu, pick(block, own ^ r), r * 4);
                    const int from = y + (own ^ r);
                    bits |= (u32)keeps(number) << (from / 2 * 4 + h * 2 + from % 2);
                }
            } else {
                // Two lanes of four keys, by two queries.
                const int h = t & 1;
                const philox::Block block = numbers(row + g + h * 8, column + turn * 8 + t * 2);
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    const u32 number = __shfl_xor_sync(0xffffffffu, h ? block.lane[e] : block.lane[2 + e], 1);
                    bits |= (u32)keeps(h ? block.lane[2 + e] : block.lane[e]) << (turn * 4 + h * 2 + e);
                    bits |= (u32)keeps(number) << (turn * 4 + (h ^ 1) * 2 + e);
                }
            }
        }
        return bits;
    }
    // By a mask of bits: a predicate for each is more than there are.
    MERAPI_F float dropped(u32 bits, int bit, float weight) const {
        if (!DROPOUT) return weight;
        return __uint_as_float(__float_as_uint(weight * (float)o.kept) & (0u - (bits >> bit & 1)));
    }
};
}  // namespace flash
