// SPDX-License-Identifier: Apache-2.0
//
// Cross entropy of logits and class indices: one pass for the loss, one for the gradient, no probabilities in memory.
#include "../indices.h"
#include "../pool.h"
#include "../scratch.h"
#include "../structured.h"
#include "lanes.h"

namespace merapi {
namespace MERAPI_ISA {
namespace {

template <class S>
struct Rows {
    using C = ComputeOf<S>;
    const S* logits;
    const int64_t* targets;
    const C* weight;  // or null
    int64_t rows;
    int64_t classes;
    int64_t ignore_index;
    double smoothing;
    double weight_sum;  // of all classes

    // The class of a row, read once; -1 if it is left out.
    int64_t target_of(int64_t row, Outside& outside) const {
        return class_once(targets, row, classes, ignore_index, outside);
    }
    double weight_of(int64_t target) const {
        return weight == nullptr ? 1.0 : static_cast<double>(weight[target]);
    }
    int64_t grain() const { return most(1, kGrain / 4 / most(1, classes)); }
};

template <class S>
Rows<S> describe(int64_t logits, int64_t targets, int64_t weight, int64_t rows, int64_t classes, int64_t ignore_index,
                 double smoothing) {
    Rows<S> r{at<const S>(logits), at<const int64_t>(targets), at<const ComputeOf<S>>(weight), rows, classes,
              ignore_index,        smoothing,                  static_cast<double>(classes)};
    if (r.weight != nullptr && smoothing != 0) {
        r.weight_sum = blocked_sum<ComputeOf<S>>(classes, [&](int64_t i, int n) { return pick(r.weight + i, n); });
    }
    return r;
}

template <class S>
double row_loss(const Rows<S>& q, int64_t row, int64_t target, double* lse) {
    using C = ComputeOf<S>;
    const S* x = q.logits + row * q.classes;
    const C m = row_max(x, q.classes);
    // An infinite maximum is its own logsumexp.
    *lse = m - m == C(0) ? static_cast<double>(m) + std::log(row_sum_exp(x, q.classes, m))
                         : static_cast<double>(m + row_sum_exp(x, q.classes, m));
    if (target < 0) return 0;
    double loss = (1 - q.smoothing) * q.weight_of(target) * (*lse - static_cast<double>(widen_one(x[target])));
    if (q.smoothing != 0) {
        double weighted = blocked_sum<C>(q.classes, [&](int64_t i, int n) {
            auto v = pick(x + i, n);
            return q.weight == nullptr ? v : v * pick(q.weight + i, n);
        });
        loss += q.smoothing / static_cast<double>(q.classes) * (q.weight_sum * *lse - weighted);
    }
    return loss;
}

template <class S>
void losses(const Rows<S>& q, LossReduction reduction, ComputeOf<S>* result, ComputeOf<S>* lse, double* total_weight,
            Outside& outside) {
    using C = ComputeOf<S>;
    ScratchFrame frame;
    const int64_t grain = q.grain(), chunks = ceil_div(q.rows, grain);
    double* sums = static_cast<double*>(scratch_take(static_cast<size_t>(2 * most(1, chunks)) * sizeof(double)));
    parallel_for(q.rows, grain, [&](int64_t begin, int64_t end) {
        double loss = 0, weight = 0;
        for (int64_t r = begin; r < end; r++) {
            double row_lse;
            const int64_t target = q.target_of(r, outside);
            double value = row_loss(q, r, target, &row_lse);
            if (lse != nullptr) lse[r] = static_cast<C>(row_lse);
            if (reduction == LossReduction::none) result[r] = static_cast<C>(value);
            loss += value;
            if (target >= 0) weight += q.weight_of(target);
        }
        sums[2 * (begin / grain)] = loss;
        sums[2 * (begin / grain) + 1] = weight;
    });
    double loss = 0, weight = 0;
    for (int64_t c = 0; c < chunks; c++) {
        loss += sums[2 * c];
        weight += sums[2 * c + 1];
    }
    if (total_weight != nullptr) *total_weight = weight;
    if (reduction == LossReduction::mean) *result = static_cast<C>(loss / weight);
    if (reduction == LossReduction::sum) *result = static_cast<C>(loss);
}

template <class S>
void gradients(const Rows<S>& q, LossReduction reduction, const ComputeOf<S>* lse, double total_weight,
               const ComputeOf<S>* grad, S* out, Outside& outside) {
    using C = ComputeOf<S>;
    parallel_for(q.rows, q.grain(), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; r++) {
            const S* x = q.logits + r * q.classes;
            S* d = out + r * q.classes;
            const int64_t target = q.target_of(r, outside);
            if (target < 0) {
                map_row<S>(q.classes, [&](int64_t i, int n) { put(d + i, splat(C(0)), n); });
                continue;
            }
            double g = static_cast<double>(grad[reduction == LossReduction::none ? r : 0]);
            if (reduction == LossReduction::mean) g /= total_weight;
            const double hit = (1 - q.smoothing) * q.weight_of(target),
                         each = q.smoothing / static_cast<double>(q.classes);
            const C scale = static_cast<C>(g * (hit + each * q.weight_sum));  // of the probabilities
            const C miss = static_cast<C>(g * each);
            const C shift = lse[r];
            C at_target = static_cast<C>(g * hit);
            const C logit = widen_one(x[target]);  // d may be x
            map_row<S>(q.classes, [&](int64_t i, int n) {
                auto v = vexp(pick(x + i, n) - splat(shift)) * splat(scale);
                if (miss != C(0)) v -= q.weight == nullptr ? splat(miss) : pick(q.weight + i, n) * splat(miss);
                put(d + i, v, n);
            });
            if (miss != C(0)) at_target += miss * static_cast<C>(q.weight_of(target));
            // Once more and alone: rounding p to 16 bits before the subtraction would cost its digits.
            narrow_one(d + target, vexp(splat(logit - shift))[0] * scale - at_target);
        }
    });
}

}  // namespace

int64_t cross_entropy(int dtype, int64_t logits, int64_t targets, int64_t weight, int64_t rows, int64_t classes,
                      int64_t ignore_index, double smoothing, int reduction, int64_t result, int64_t lse,
                      int64_t total_weight) {
    const int64_t wrong = first_outside(at<const int64_t>(targets), rows, classes, ignore_index);
    if (wrong >= 0) return wrong;
    Outside outside;
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        losses(describe<S>(logits, targets, weight, rows, classes, ignore_index, smoothing),
               loss_reduction_of(reduction), at<ComputeOf<S>>(result), at<ComputeOf<S>>(lse), at<double>(total_weight), outside);
    });
    return outside.position();
}

int64_t cross_entropy_backward(int dtype, int64_t logits, int64_t targets, int64_t weight, int64_t rows, int64_t classes,
                            int64_t ignore_index, double smoothing, int reduction, int64_t lse, int64_t total_weight,
                            int64_t grad, int64_t dlogits) {
    const int64_t wrong = first_outside(at<const int64_t>(targets), rows, classes, ignore_index);
    if (wrong >= 0) return wrong;
    Outside outside;
    with_float(dtype, [&](auto tag) {
        using S = typename decltype(tag)::type;
        gradients(describe<S>(logits, targets, weight, rows, classes, ignore_index, smoothing),
                  loss_reduction_of(reduction), at<const ComputeOf<S>>(lse),
                  loss_reduction_of(reduction) == LossReduction::mean ? *at<const double>(total_weight) : 1.0,
                  at<const ComputeOf<S>>(grad), at<S>(dlogits), outside);
    });
    return outside.position();
}

}  // namespace MERAPI_ISA
}  // namespace merapi
