// SPDX-License-Identifier: Apache-2.0
// Rows with NaN of the kernels of flash.cuh. What a query does not see has no part in its results, and it none in the
// gradients of what it does not see. On tensor cores such a pair has the weight 0, but 0·NaN and 0·∞ are NaN. So where pairs
// are hidden, a row that became NaN is summed once more, over the pairs that are seen.
namespace flash {
// Lines of a head, and how far away are those of the next head.
struct Lines {
    const T* first;
    i64 stride, next;
    MERAPI_F const T* at(int t) const { return first + t * stride; }
};
// A number that the compiler takes to be another one each time, so that it does not make two loops of one.
MERAPI_F int varying(int x) {
#ifndef CUDASIM
    asm volatile("" : "+r"(x));
#endif
    return x;
}
// A row, of a key or a query, against those that see it, of so many heads, or that it sees: Σ p·y, or where slopes() says so
// Σ ds·x times the scale, where p = exp(own·x − lse) and ds = p·(mine·y − inner). Rare, so it is short, not fast: every lane
// multiplies whole lines, for a column of its own. numbers(h, i) are those of a query, choices(h) what a head is told.
template <bool KEYS, class S, class N, class C>
MERAPI_F void sum_again(T* to, int row, const Problem& p, int heads, S slopes, const Lines& own, const Lines& mine,
                        const Lines& x, const Lines& y, N numbers, C choices) {
    if (!MASK && !p.causal) return;
    const float scale = (float)p.scale;
    const int first = KEYS ? p.firstQuery(row) : 0, end = KEYS ? (int)p.queries : p.keysSeen(row);
    const T *const left = own.at(row), *const other = mine.at(row);
    __syncwarp();  // what was written of this row is written
#pragma unroll 1
    for (int c = lane(); c < kWidth; c += 32) {
        float sum = 0;
#pragma unroll 1
        for (int h = 0; h < (KEYS && GROUPED ? heads : 1); h++) {
            const T *px = x.at(first) + h * x.next, *py = y.at(first) + h * y.next;
            const Choice choice = choices(h);
#pragma unroll 1
            for (int o = first; o < end; o++, px += x.stride, py += y.stride) {
                const int query = KEYS ? o : row, key = KEYS ? row : o;
                const float more = choice.added(true, query, key);
                if (MASK && more == -infinity(0.0f)) continue;
                float s = 0, d = 0;
#pragma unroll 1
                for (int e = 0; e < kWidth; e++) {
                    s = op_fma(rd(left[e]), rd(px[e]), s);
                    d = op_fma(rd(other[e]), rd(py[e]), d);
                }
                const float2 of = numbers(h, query);
                s = quick_exp2(op_fma(s, scale * kLog2e, MASK == 2 ? of.x + more : of.x));
                const float factor = choice.factor(query, key);
                if (slopes()) {
                    s *= (DROPOUT ? d * factor : d) - of.y;
                } else if (DROPOUT) {
                    s *= factor;
                }
                sum = op_fma(s, rd((slopes() ? px : py)[c]), sum);
                if (!MASK && __all_sync(0xffffffffu, sum != sum)) break;
            }
        }
        wr(to[c], slopes() ? sum * scale : sum);
    }
}
}  // namespace flash
