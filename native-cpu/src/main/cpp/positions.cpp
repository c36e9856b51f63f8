// SPDX-License-Identifier: Apache-2.0
//
// What depends on positions rather than on values: triangles, ranges, one-hot rows, and the loss that picks one log
// probability a row.
#include <cstring>

#define MERAPI_ISA base
#include "dtypes.h"
#include "indices.h"
#include "isa/lanes.h"
#include "merapi_kernels.h"
#include "pool.h"

namespace merapi {
namespace {

using namespace MERAPI_ISA;

// As Java narrows: towards zero, the ends of the range beyond it, 0 for NaN.
int64_t cut(double x) {
    if (x != x) return 0;
    if (x >= 9223372036854775808.0) return INT64_MAX;
    if (x < -9223372036854775808.0) return INT64_MIN;
    return static_cast<int64_t>(x);
}

// out[i] = value(i), a double or an int64_t, converted.
template <class F>
void fill(int dtype, int64_t n, int64_t out, F value) {
    auto each = [&](auto store) {
        parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; i++) store(i, value(i));
        });
    };
    switch (storage_of(dtype)) {
        case Storage::f32:
            return each([=](int64_t i, auto v) { at<float>(out)[i] = static_cast<float>(v); });
        case Storage::f64:
            return each([=](int64_t i, auto v) { at<double>(out)[i] = static_cast<double>(v); });
        case Storage::f16:
            return each([=](int64_t i, auto v) { narrow_one(at<f16>(out) + i, static_cast<float>(v)); });
        case Storage::bf16:
            return each([=](int64_t i, auto v) { narrow_one(at<bf16>(out) + i, static_cast<float>(v)); });
        case Storage::boolean:
            return each([=](int64_t i, auto v) { at<uint8_t>(out)[i] = v != 0; });
        default:
            break;
    }
    auto whole = [](auto v) {
        if constexpr (same_type<decltype(v), double>) {
            return static_cast<uint64_t>(cut(v));
        } else {
            return static_cast<uint64_t>(v);
        }
    };
    switch (storage_of(dtype)) {
        case Storage::i16:
            return each([=](int64_t i, auto v) { at<uint16_t>(out)[i] = static_cast<uint16_t>(whole(v)); });
        case Storage::i32:
            return each([=](int64_t i, auto v) { at<uint32_t>(out)[i] = static_cast<uint32_t>(whole(v)); });
        case Storage::i64:
            return each([=](int64_t i, auto v) { at<uint64_t>(out)[i] = whole(v); });
        default:
            return each([=](int64_t i, auto v) { at<uint8_t>(out)[i] = static_cast<uint8_t>(whole(v)); });
    }
}

}  // namespace

namespace abi {

void triangle(int element_size, int64_t x, int64_t matrices, int64_t rows, int64_t columns, int64_t diagonal, int lower,
              int64_t out) {
    parallel_for(matrices * rows, most(1, kGrain / most(1, columns)), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; r++) {
            // Columns up to here (exclusive) are the lower part, its diagonal included.
            const int64_t row = r % rows, reach = diagonal > columns ? columns : diagonal < -rows ? -rows : diagonal;
            const int64_t edge = least(columns, most(0, row + reach + (lower != 0 ? 1 : 0)));
            const int64_t from = lower != 0 ? 0 : edge, to = lower != 0 ? edge : columns;
            const char* s = at<const char>(x) + r * columns * element_size;
            char* d = at<char>(out) + r * columns * element_size;
            std::memset(d, 0, static_cast<size_t>(from * element_size));
            std::memcpy(d + from * element_size, s + from * element_size,
                        static_cast<size_t>((to - from) * element_size));
            std::memset(d + to * element_size, 0, static_cast<size_t>((columns - to) * element_size));
        }
    });
}

void arange(int dtype, int64_t start, int64_t step, int64_t n, int64_t out) {
    fill(dtype, n, out, [=](int64_t i) {
        return static_cast<int64_t>(static_cast<uint64_t>(start) +
                                    static_cast<uint64_t>(i) * static_cast<uint64_t>(step));
    });
}

void arange_real(int dtype, double start, double step, int64_t n, int64_t out) {
    fill(dtype, n, out, [=](int64_t i) { return start + static_cast<double>(i) * step; });
}

void linspace(int dtype, double start, double end, int64_t n, int64_t out) {
    const double step = n > 1 ? (end - start) / static_cast<double>(n - 1) : 0;
    // From the nearer end, so that the last element is the end exactly.
    fill(dtype, n, out, [=](int64_t i) {
        return 2 * i < n ? start + static_cast<double>(i) * step : end - static_cast<double>(n - 1 - i) * step;
    });
}

void one_hot(int dtype, int index_dtype, int64_t indices, int64_t n, int64_t classes, int64_t out) {
    fill(dtype, n * classes, out, [=](int64_t i) {
        const int64_t row = i / classes;
        const int64_t index = storage_of(index_dtype) == Storage::i32 ? at<const int32_t>(indices)[row] : at<const int64_t>(indices)[row];
        return static_cast<int64_t>((index < 0 ? index + classes : index) == i % classes);
    });
}

int64_t nll_loss(int dtype, int64_t log_probabilities, int64_t targets, int64_t weight, int64_t rows, int64_t classes,
                 int64_t ignore_index, int reduction, int64_t result) {
    const int64_t wrong = first_outside(at<const int64_t>(targets), rows, classes, ignore_index);
    if (wrong >= 0) return wrong;
    const bool each_row = loss_reduction_of(reduction) == LossReduction::none;
    const bool is_mean = loss_reduction_of(reduction) == LossReduction::mean;
    Outside outside;
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        double losses = 0, weights = 0;
        for (int64_t r = 0; r < rows; r++) {
            double w = 0, loss = 0;
            const int64_t target = class_once(at<const int64_t>(targets), r, classes, ignore_index, outside);
            if (target >= 0) {
                w = weight == 0 ? 1.0 : static_cast<double>(widen_one(at<const S>(weight)[target]));
                loss = -w * static_cast<double>(widen_one(at<const S>(log_probabilities)[r * classes + target]));
            }
            if (each_row) narrow_one(at<S>(result) + r, static_cast<C>(loss));
            losses += loss;
            weights += w;
        }
        if (!each_row) narrow_one(at<S>(result), static_cast<C>(is_mean ? losses / weights : losses));
    });
    return outside.position();
}

int64_t nll_loss_backward(int dtype, int64_t targets, int64_t weight, int64_t rows, int64_t classes, int64_t ignore_index,
                       int reduction, int64_t grad, int64_t out) {
    const int64_t wrong = first_outside(at<const int64_t>(targets), rows, classes, ignore_index);
    if (wrong >= 0) return wrong;
    const bool each_row = loss_reduction_of(reduction) == LossReduction::none;
    const bool is_mean = loss_reduction_of(reduction) == LossReduction::mean;
    Outside outside;
    auto class_of = [&](int64_t r) {
        return class_once(at<const int64_t>(targets), r, classes, ignore_index, outside);
    };
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        using C = ComputeOf<S>;
        auto weight_of = [&](int64_t target) {
            return target < 0 ? 0.0 : weight == 0 ? 1.0 : static_cast<double>(widen_one(at<const S>(weight)[target]));
        };
        double weights = 0;
        for (int64_t r = 0; is_mean && r < rows; r++) weights += weight_of(class_of(r));
        parallel_for(rows, most(1, kGrain / most(1, classes)), [&](int64_t begin, int64_t end) {
            std::memset(at<char>(out) + begin * classes * static_cast<int64_t>(sizeof(S)), 0,
                        static_cast<size_t>((end - begin) * classes) * sizeof(S));
            for (int64_t r = begin; r < end; r++) {
                const int64_t target = class_of(r);
                if (target < 0) continue;
                const double g = static_cast<double>(widen_one(at<const S>(grad)[each_row ? r : 0]));
                narrow_one(at<S>(out) + r * classes + target,
                           static_cast<C>(-(is_mean ? g / weights : g) * weight_of(target)));
            }
        });
    });
    return outside.position();
}

}  // namespace abi
}  // namespace merapi
