// SPDX-License-Identifier: Apache-2.0
//
// Reductions with a pointwise program in front: the program is evaluated window by window, and each window is folded
// while it is in L1. Work is cut by size alone, and partial results are merged in order, so that the thread count never
// shows in a result; and an output's windows begin with its own first element, so that equal rows give equal results.
#include <atomic>
#include <cstdlib>

#include "../merapi_cpu.h"
#include "../pool.h"
#include "folds.h"
#include "walk.h"

namespace merapi {
namespace MERAPI_ISA {

namespace {

// Elements that one partial result covers, when one output is cut into several.
constexpr int64_t kPiece = 2 * kGrain;
// Of a column more: merging its pieces costs as much as some 150 of its elements.
constexpr int64_t kColumnPiece = 8 * kGrain;

struct Reduction {
    const ReducePlan& plan;
    const Program& p;
    Space space;
    Kernel kernel;
    int64_t window;

    explicit Reduction(const ReducePlan& r) : plan(r), p(*r.program) {
        space.program = &p;
        space.ndim = r.ndim;
        space.size = r.size;
        space.outputs = 0;
        space.operands = p.inputs;
        space.operand = r.input;
        space.classify();
        kernel = find_kernel(p.reduce, reg_of(p.output[0]));
        // Values that are input memory itself need no block in L1.
        bool in_memory = p.instructions == 0 && !p.needs_slots && space.way == Way::flat;
        for (int k = 0; k < p.inputs; k++) in_memory = in_memory && space.layout[k] == Layout::contiguous;
        window = in_memory ? 16384 : p.block;
    }

    int element() const { return reg_size(reg_of(p.output[0])); }

    // ---- results ----

    void write(const Operand& to, int64_t offset, double real, int64_t integer) const {
        char* at = to.address + offset;
        switch (p.reduce_result) {
            case Storage::f32:
                *reinterpret_cast<float*>(at) = static_cast<float>(real);
                break;
            case Storage::f64:
                *reinterpret_cast<double*>(at) = real;
                break;
            case Storage::f16:
                *reinterpret_cast<uint16_t*>(at) = f32_to_f16(static_cast<float>(real));
                break;
            case Storage::bf16:
                *reinterpret_cast<uint16_t*>(at) = f32_to_bf16(static_cast<float>(real));
                break;
            case Storage::i32:
                *reinterpret_cast<int32_t*>(at) = static_cast<int32_t>(integer);
                break;
            case Storage::i64:
                *reinterpret_cast<int64_t*>(at) = integer;
                break;
            case Storage::i16:
                *reinterpret_cast<int16_t*>(at) = static_cast<int16_t>(integer);
                break;
            case Storage::u8:
            case Storage::i8:
                *reinterpret_cast<uint8_t*>(at) = static_cast<uint8_t>(integer);
                break;
            case Storage::boolean:
                *reinterpret_cast<uint8_t*>(at) = integer != 0;
                break;
        }
    }

    void finish(int64_t output, const Acc& acc) const {
        int64_t offset = 0, mean_offset = 0;
        for (int d = plan.kept - 1; d >= 0; d--) {
            int64_t index = output;
            if (d > 0) {
                index = output % plan.kept_size[d];
                output /= plan.kept_size[d];
            }
            offset += index * plan.result.stride[d];
            mean_offset += index * plan.mean.stride[d];
        }
        double real = acc.a;
        int64_t integer = acc.i;
        switch (p.reduce) {
            case ReduceOp::sum:
            case ReduceOp::sumsq:
                real = acc.a + acc.b;
                break;
            case ReduceOp::mean:
                real = (acc.a + acc.b) / static_cast<double>(plan.length);
                break;
            case ReduceOp::argmin:
            case ReduceOp::argmax:
                integer = acc.j;
                break;
            case ReduceOp::var: {
                double degrees = static_cast<double>(plan.length) - plan.correction;
                // Rounding may leave a little less than nothing.
                double deviations = acc.b < 0 ? 0.0 : acc.b;
                real = deviations / (degrees > 0 ? degrees : 0.0);
                if (plan.mean.address != nullptr) write(plan.mean, mean_offset, acc.a, 0);
                break;
            }
            default:
                break;
        }
        write(plan.result, offset, real, integer);
    }

    void of_nothing() const {
        Acc acc;
        start(acc, p.reduce);
        if (p.reduce == ReduceOp::var) acc.a = static_cast<double>(NAN);
        for (int64_t o = 0; o < plan.outputs * plan.columns; o++) finish(o, acc);
    }

    // ---- rows ----

    // Folds elements [begin, end) of the space. `done(output, acc)` gets each output whose last element is in there,
    // and the last one, complete or not.
    template <class Done>
    void fold_range(char* scratch, int64_t begin, int64_t end, Done done) const {
        const int64_t length = plan.length;
        const int size = element();
        BlockRunner run(p, scratch, plan.scalars, end - begin);
        Cursor at(space, begin);
        int64_t output = begin / length, index = begin % length;
        // Windows of whole outputs, or windows within one.
        const int64_t several = window / length * length;
        Acc acc;
        start(acc, p.reduce);
        for (int64_t pos = begin; pos < end;) {
            int64_t m = several > 0 ? several : (length - index < window ? length - index : window);
            if (m > end - pos) m = end - pos;
            if (m > at.room()) m = at.room();
            at.feed(run, m);
            run.evaluate(m);
            const char* values = run.value(p.store[0].value);
            for (int64_t off = 0; off < m;) {
                int64_t n = length - index < m - off ? length - index : m - off;
                kernel.fold(acc, values + off * size, n, index);
                off += n;
                index += n;
                if (index == length) {
                    done(output, acc);
                    start(acc, p.reduce);
                    output++;
                    index = 0;
                }
            }
            at.advance(m);
            pos += m;
        }
        if (index != 0) done(output, acc);
    }

    int rows() const {
        const int64_t outputs = plan.outputs, length = plan.length;
        std::atomic<int> status{0};
        if (length <= 2 * kPiece || outputs >= 256) {
            int64_t grain = kGrain / length;
            if (grain < 1) grain = 1;
            parallel_for(outputs, grain, [&](int64_t begin, int64_t end) {
                char* scratch = thread_scratch(p.scratch_bytes);
                if (scratch == nullptr) {
                    status.store(abi::kNoMemory);
                    return;
                }
                fold_range(scratch, begin * length, end * length,
                           [&](int64_t output, const Acc& acc) { finish(output, acc); });
            });
            return status.load();
        }
        const int64_t pieces = (length + kPiece - 1) / kPiece;
        Acc* partial = static_cast<Acc*>(std::malloc(static_cast<size_t>(outputs * pieces) * sizeof(Acc)));
        if (partial == nullptr) return abi::kNoMemory;
        parallel_for(outputs * pieces, 1, [&](int64_t begin, int64_t end) {
            char* scratch = thread_scratch(p.scratch_bytes);
            if (scratch == nullptr) {
                status.store(abi::kNoMemory);
                return;
            }
            for (int64_t task = begin; task < end; task++) {
                int64_t from = task % pieces * kPiece;
                int64_t to = length - from < kPiece ? length : from + kPiece;
                int64_t base = task / pieces * length;
                fold_range(scratch, base + from, base + to, [&](int64_t, const Acc& acc) { partial[task] = acc; });
            }
        });
        if (status.load() == 0) {
            for (int64_t o = 0; o < outputs; o++) {
                Acc acc = partial[o * pieces];
                for (int64_t k = 1; k < pieces; k++) kernel.merge(acc, partial[o * pieces + k]);
                finish(o, acc);
            }
        }
        std::free(partial);
        return status.load();
    }

    // ---- columns ----

    // Folds rows [from, to) of one output group over columns [c, c + width) and hands over each column's result.
    template <class Done>
    void fold_columns(char* scratch, int64_t group, int64_t from, int64_t to, int64_t c, int64_t width,
                      Done done) const {
        char* x = scratch + p.scratch_bytes;
        char* y = x + window * 8;
        const int64_t columns = plan.columns;
        kernel.start_rows(x, y, width);
        int64_t pos = (group * plan.length + from) * columns + c;
        // Narrow rows: several in one window.
        int64_t together = width == columns && space.way != Way::rows ? window / columns : 1;
        if (together < 1) together = 1;
        BlockRunner run(p, scratch, plan.scalars, together * width);
        Cursor at(space, pos);
        for (int64_t r = from; r < to;) {
            int64_t rows = to - r < together ? to - r : together;
            int64_t m = rows * width;
            at.feed(run, m);
            run.evaluate(m);
            kernel.fold_rows(x, y, run.value(p.store[0].value), rows, width, r - from);
            r += rows;
            if (r < to) {
                if (space.way == Way::rows) {
                    at.next_row(c);
                } else if (width == columns) {
                    at.advance(m);
                } else {
                    pos += columns;
                    at.seek(pos);
                }
            }
        }
        for (int64_t k = 0; k < width; k++) {
            Acc acc;
            start(acc, p.reduce);
            kernel.take_rows(x, y, to - from, k, acc);
            if (acc.j >= 0) acc.j += from;
            done(c + k, acc);
        }
    }

    int by_columns() const {
        const int64_t width = plan.columns < p.block ? plan.columns : p.block;
        const int64_t blocks = (plan.columns + width - 1) / width;
        // At most 64 partial results a column, however many rows there are.
        int64_t height = kColumnPiece / width;
        if (height < (plan.length + 63) / 64) height = (plan.length + 63) / 64;
        const int64_t pieces = plan.length < 2 * height ? 1 : (plan.length + height - 1) / height;
        if (pieces == 1) height = plan.length;
        const int64_t tasks = plan.outputs * blocks * pieces;
        Acc* partial = nullptr;
        if (pieces > 1) {
            partial =
                static_cast<Acc*>(std::malloc(static_cast<size_t>(plan.outputs * plan.columns * pieces) * sizeof(Acc)));
            if (partial == nullptr) return abi::kNoMemory;
        }
        int64_t grain = kGrain / (height * width);
        if (grain < 1) grain = 1;
        std::atomic<int> status{0};
        parallel_for(tasks, grain, [&](int64_t begin, int64_t end) {
            char* scratch = thread_scratch(p.scratch_bytes + window * 16 + 64);
            if (scratch == nullptr) {
                status.store(abi::kNoMemory);
                return;
            }
            for (int64_t task = begin; task < end; task++) {
                int64_t piece = task % pieces, block = task / pieces % blocks, group = task / pieces / blocks;
                int64_t from = piece * height, to = plan.length - from < height ? plan.length : from + height;
                int64_t c = block * width;
                int64_t w = plan.columns - c < width ? plan.columns - c : width;
                fold_columns(scratch, group, from, to, c, w, [&](int64_t column, const Acc& acc) {
                    int64_t output = group * plan.columns + column;
                    if (partial != nullptr) {
                        partial[output * pieces + piece] = acc;
                    } else {
                        finish(output, acc);
                    }
                });
            }
        });
        if (partial != nullptr && status.load() == 0) {
            for (int64_t o = 0; o < plan.outputs * plan.columns; o++) {
                Acc acc = partial[o * pieces];
                for (int64_t k = 1; k < pieces; k++) kernel.merge(acc, partial[o * pieces + k]);
                finish(o, acc);
            }
        }
        std::free(partial);
        return status.load();
    }
};

int run(const ReducePlan& plan) {
    Reduction reduction(plan);
    if (plan.length == 0) {
        reduction.of_nothing();
        return 0;
    }
    return plan.by_columns ? reduction.by_columns() : reduction.rows();
}

}  // namespace

extern const ReduceTable reduce_table;
const ReduceTable reduce_table = {run};

}  // namespace MERAPI_ISA
}  // namespace merapi
