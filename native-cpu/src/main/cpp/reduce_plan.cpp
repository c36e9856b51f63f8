// SPDX-License-Identifier: Apache-2.0
#include "reduce_plan.h"

#include "isa.h"

namespace merapi {

MERAPI_DECLARE_TABLE(ReduceTable, reduce_table)

const ReduceTable& reduce_table() {
    static const ReduceTable& table = MERAPI_PICK_TABLE(reduce_table);
    return table;
}

namespace {

int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

struct Dims {
    const ReduceCall& call;
    int count = 0;
    int64_t size[kMaxDims];
    int64_t stride[kMaxInputs + 2][kMaxDims];  // inputs, result, mean

    explicit Dims(const ReduceCall& c) : call(c) {}

    int operands() const { return call.program->inputs + 2; }

    void add(int d, bool is_kept) {
        if (call.size[d] == 1) return;
        size[count] = call.size[d];
        int inputs = call.program->inputs;
        for (int k = 0; k < inputs; k++) stride[k][count] = call.input[k].stride[d];
        stride[inputs][count] = is_kept ? call.result.stride[d] : 0;
        stride[inputs + 1][count] = is_kept ? call.mean.stride[d] : 0;
        count++;
    }

    void swap(int a, int b) {
        int64_t t = size[a];
        size[a] = size[b];
        size[b] = t;
        for (int o = 0; o < operands(); o++) {
            t = stride[o][a];
            stride[o][a] = stride[o][b];
            stride[o][b] = t;
        }
    }

    // Farther in memory goes first. The first input that moves along both dims decides.
    bool farther(int a, int b) const {
        for (int k = 0; k < call.program->inputs; k++) {
            int64_t x = magnitude(stride[k][a]), y = magnitude(stride[k][b]);
            if (x != 0 && y != 0 && x != y) return x > y;
        }
        return false;
    }

    void sort() {
        for (int i = 1; i < count; i++) {
            for (int j = i; j > 0 && farther(j, j - 1); j--) swap(j, j - 1);
        }
    }

    void merge() {
        int to = 0;
        for (int d = 1; d < count; d++) {
            bool fits = true;
            for (int o = 0; o < operands(); o++) fits = fits && stride[o][to] == stride[o][d] * size[d];
            if (!fits) {
                to++;
                size[to] = size[d];
            } else {
                size[to] *= size[d];
            }
            for (int o = 0; o < operands(); o++) stride[o][to] = stride[o][d];
        }
        if (count > 0) count = to + 1;
    }
};

}  // namespace

ReducePlan plan_reduction(const ReduceCall& call) {
    const Program& p = *call.program;
    const int inputs = p.inputs;
    Dims kept(call), reduced(call);
    for (int d = 0; d < call.kept; d++) kept.add(d, true);
    for (int d = 0; d < call.reduced; d++) reduced.add(call.kept + d, false);
    kept.sort();
    kept.merge();
    // An index into the reduced dims means their order.
    if (p.reduce != ReduceOp::argmin && p.reduce != ReduceOp::argmax) reduced.sort();
    reduced.merge();

    ReducePlan plan;
    plan.program = &p;
    plan.correction = call.correction;
    plan.scalars = call.scalars;
    int columns_win = 0;
    if (kept.count > 0 && reduced.count > 0) {
        for (int k = 0; k < inputs; k++) {
            int64_t c = magnitude(kept.stride[k][kept.count - 1]), r = magnitude(reduced.stride[k][reduced.count - 1]);
            if (c != 0 && r != 0) columns_win += c < r ? 1 : -1;
        }
    }
    plan.by_columns = columns_win > 0;
    plan.kept = kept.count;
    plan.columns = plan.by_columns ? kept.size[kept.count - 1] : 1;
    plan.outputs = 1;
    plan.length = 1;
    plan.ndim = 0;
    auto append = [&](const Dims& dims, int d) {
        plan.size[plan.ndim] = dims.size[d];
        for (int k = 0; k < inputs; k++) plan.input[k].stride[plan.ndim] = dims.stride[k][d];
        plan.ndim++;
    };
    int outer = plan.by_columns ? kept.count - 1 : kept.count;
    for (int d = 0; d < outer; d++) {
        append(kept, d);
        plan.outputs *= kept.size[d];
    }
    for (int d = 0; d < reduced.count; d++) {
        append(reduced, d);
        plan.length *= reduced.size[d];
    }
    if (plan.by_columns) append(kept, kept.count - 1);
    for (int k = 0; k < inputs; k++) plan.input[k].address = call.input[k].address;
    plan.result.address = call.result.address;
    plan.mean.address = call.mean.address;
    for (int d = 0; d < kept.count; d++) {
        plan.kept_size[d] = kept.size[d];
        plan.result.stride[d] = kept.stride[inputs][d];
        plan.mean.stride[d] = kept.stride[inputs + 1][d];
    }
    return plan;
}

}  // namespace merapi
