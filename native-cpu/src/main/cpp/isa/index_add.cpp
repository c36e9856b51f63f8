// SPDX-License-Identifier: Apache-2.0
//
// Additions by index. Every element of the output is summed by one thread in the order of the source, so results are
// the same for any number of threads; 16-bit floats are summed in float and rounded once.
#include "../indices.h"
#include "../pool.h"
#include "../scratch.h"
#include "../structured.h"
#include "index_at.h"
#include "lanes.h"
#include "sums.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

template <class S>
void add_rows(const S* src, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner, int64_t k,
              int64_t skip, S* out, Outside& outside) {
    if (dim == 0 || inner == 0) return;
    ScratchFrame frame;
    // For every row of the output, the list of its source rows in ascending order.
    int64_t* head = static_cast<int64_t*>(scratch_take(static_cast<size_t>(dim) * sizeof(int64_t)));
    int64_t* next = static_cast<int64_t*>(scratch_take(static_cast<size_t>(most(1, k)) * sizeof(int64_t)));
    for (int64_t i = 0; i < dim; i++) head[i] = -1;
    for (int64_t j = k - 1; j >= 0; j--) {
        int64_t i = index_at(index_dtype, indices, j, dim, outside);
        if (i < 0 || i == skip) continue;
        next[j] = head[i];
        head[i] = j;
    }
    // Rows with much to add would make chunks uneven, so chunks are small.
    const int64_t grain = most(1, kGrain / 2 / most(1, inner * ceil_div(most(k, dim), dim)));
    parallel_for(outer * dim, grain, [&](int64_t begin, int64_t end) {
        ScratchFrame inner_frame;
        using T = typename Sum<S>::T;
        T* sum = static_cast<T*>(scratch_take(static_cast<size_t>(inner) * sizeof(T)));
        for (int64_t r = begin; r < end; r++) {
            int64_t j = head[r % dim];
            if (j < 0) continue;
            const S* from = src + r / dim * k * inner;
            S* to = out + r * inner;
            if constexpr (is_float<S>) {
                map_row<S>(inner, [&](int64_t i, int lanes) { put(sum + i, pick(to + i, lanes), lanes); });
                for (; j >= 0; j = next[j]) {
                    const S* row = from + j * inner;
                    map_row<S>(inner, [&](int64_t i, int lanes) {
                        put(sum + i, pick(sum + i, lanes) + pick(row + i, lanes), lanes);
                    });
                }
                map_row<S>(inner, [&](int64_t i, int lanes) { put(to + i, pick(sum + i, lanes), lanes); });
            } else {
                for (int64_t i = 0; i < inner; i++) sum[i] = Sum<S>::get(to + i);
                for (; j >= 0; j = next[j]) {
                    for (int64_t i = 0; i < inner; i++) sum[i] += Sum<S>::get(from + j * inner + i);
                }
                for (int64_t i = 0; i < inner; i++) Sum<S>::set(to + i, sum[i]);
            }
        }
    });
}

template <class S>
void add_elements(const S* src, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner, int64_t k,
                  S* out, Outside& outside) {
    using T = typename Sum<S>::T;
    constexpr int64_t W = 64;  // columns a task
    const int64_t groups = ceil_div(most(1, inner), W);
    if (inner == 0) return;
    const int64_t grain = most(1, kGrain / most(1, (k + dim) * least(W, inner)));
    parallel_for(outer * groups, grain, [&](int64_t begin, int64_t end) {
        ScratchFrame frame;
        T* sum = static_cast<T*>(scratch_take(static_cast<size_t>(dim * least(W, inner)) * sizeof(T)));
        for (int64_t t = begin; t < end; t++) {
            const int64_t o = t / groups, first = t % groups * W, width = least(W, inner - first);
            S* to = out + o * dim * inner + first;
            for (int64_t i = 0; i < dim; i++) {
                for (int64_t c = 0; c < width; c++) sum[i * width + c] = Sum<S>::get(to + i * inner + c);
            }
            for (int64_t j = 0; j < k; j++) {
                const int64_t row = (o * k + j) * inner + first;
                for (int64_t c = 0; c < width; c++) {
                    const int64_t i = index_at(index_dtype, indices, row + c, dim, outside);
                    if (i >= 0) sum[i * width + c] += Sum<S>::get(src + row + c);
                }
            }
            for (int64_t i = 0; i < dim; i++) {
                for (int64_t c = 0; c < width; c++) Sum<S>::set(to + i * inner + c, sum[i * width + c]);
            }
        }
    });
}

}  // namespace

int64_t index_add(int dtype, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner,
                  int64_t k, int64_t skip, int64_t out) {
    Outside outside;
    with_number(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        add_rows(at<const S>(src), index_dtype, indices, outer, dim, inner, k, skip, at<S>(out), outside);
    });
    return outside.position();
}

int64_t scatter_add(int dtype, int64_t src, int index_dtype, int64_t indices, int64_t outer, int64_t dim, int64_t inner,
                    int64_t k, int64_t out) {
    Outside outside;
    with_number(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        add_elements(at<const S>(src), index_dtype, indices, outer, dim, inner, k, at<S>(out), outside);
    });
    return outside.position();
}

}  // namespace MERAPI_ISA
}  // namespace merapi
