// SPDX-License-Identifier: Apache-2.0
//
// The pointwise interpreter: walks the iteration space in blocks and gives each to a BlockRunner.
//
// Three walks, by the layout of the operands:
//   flat    every operand is contiguous over the whole space, or one element: blocks anywhere;
//   rows    blocks within rows of the last dimension, strided operands gathered;
//   packed  short rows: several of them are packed into a block, so that its cost is shared.
#include "block.h"

#include "../merapi_cpu.h"
#include "../pool.h"

#include <atomic>

namespace merapi {
namespace MERAPI_ISA {

extern const OpEntry kFloatOps[];
extern const OpEntry kIntOps[];
extern const OpEntry kCastOps[];

namespace {

// Rows shorter than this are packed: copying a row costs a few ns, setting up a block some 30.
constexpr int64_t kShortRow = 96;

bool overlap(const char* a, int64_t a_bytes, const char* b, int64_t b_bytes) {
    return a < b + b_bytes && b < a + a_bytes;
}

// ---- flat -----------------------------------------------------------------------------------------------------------

struct Flat {
    const Program& p;
    char* const* address;
    uint32_t broadcast;
    const Scalar* scalars;
    int64_t block;
    bool direct[kMaxOutputs];

    MERAPI_INLINE void chunk(char* scratch, int64_t begin, int64_t end) const {
        BlockRunner run(p, scratch, scalars, end - begin);
        for (int64_t at = begin; at < end; at += block) {
            int64_t m = end - at < block ? end - at : block;
            for (int k = 0; k < p.inputs; k++) {
                const char* from = address[p.outputs + k];
                if ((broadcast >> k & 1) != 0) {
                    run.broadcast(k, from, m);
                } else {
                    run.contiguous(k, from + at * storage_size(p.input[k]), m);
                }
            }
            for (int k = 0; k < p.outputs; k++) {
                if (direct[k]) run.redirect(p.store[k].value, address[k] + at * storage_size(p.output[k]));
            }
            run.evaluate(m);
            for (int k = 0; k < p.outputs; k++) {
                if (direct[k]) continue;
                convert_store(p.output[k], run.value(p.store[k].value),
                              address[k] + at * storage_size(p.output[k]), m);
            }
        }
    }
};

int run_flat(const Program& p, int64_t n, char* const* address, uint32_t broadcast, const Scalar* scalars) {
    Flat flat{p, address, broadcast, scalars, p.block, {}};
    bool all_direct = true;
    for (int k = 0; k < p.outputs; k++) {
        const Store& s = p.store[k];
        bool direct = s.direct_static;
        if (!direct && s.direct_maybe) {
            direct = true;
            for (int i = 0; i < p.inputs && direct; i++) {
                int64_t bytes = ((broadcast >> i & 1) != 0 ? 1 : n) * storage_size(p.input[i]);
                direct = !overlap(address[k], n * storage_size(p.output[k]), address[p.outputs + i], bytes);
            }
        }
        flat.direct[k] = direct;
        all_direct = all_direct && direct;
    }
    // Nothing passes through scratch: one call of the opcode does a whole chunk.
    if (!p.needs_slots && broadcast == 0) flat.block = all_direct || p.instructions == 0 ? kGrain : p.block;
    if (n <= kGrain) {
        char* scratch = thread_scratch(p.scratch_bytes);
        if (scratch == nullptr) return abi::kNoMemory;
        flat.chunk(scratch, 0, n);
        return 0;
    }
    std::atomic<int> status{0};
    auto work = [&](int64_t begin, int64_t end) {
        char* scratch = thread_scratch(p.scratch_bytes);
        if (scratch == nullptr) {
            status.store(abi::kNoMemory);
            return;
        }
        flat.chunk(scratch, begin, end);
    };
    parallel_for_raw(n, kGrain, &detail::call_chunk<decltype(work)>, &work);
    return status.load();
}

// ---- rows and packed ------------------------------------------------------------------------------------------------

enum class Layout : uint8_t { contiguous, single, general };

Layout layout_of(const Call& call, const Operand& o, int bytes) {
    bool contiguous = true, single = true;
    int64_t expected = bytes;
    for (int d = call.ndim - 1; d >= 0; d--) {
        if (call.size[d] == 1) continue;
        contiguous = contiguous && o.stride[d] == expected;
        single = single && o.stride[d] == 0;
        expected *= call.size[d];
    }
    return contiguous ? Layout::contiguous : (single ? Layout::single : Layout::general);
}

struct Walk {
    const Call& call;
    const Program& p;
    Layout layout[kMaxOutputs + kMaxInputs];
    bool direct[kMaxOutputs];
    int64_t inner;

    int bytes(int operand) const {
        return operand < p.outputs ? storage_size(p.output[operand]) : storage_size(p.input[operand - p.outputs]);
    }

    void rows(char* scratch, int64_t begin, int64_t end) const {
        const int last = call.ndim - 1, operands = p.outputs + p.inputs;
        int64_t block = p.block;
        BlockRunner run(p, scratch, call.scalars, inner < end - begin ? inner : end - begin);
        Odometer at;
        at.start(call.ndim, call.size, begin / inner);
        int64_t column = begin % inner;
        char* row[kMaxOutputs + kMaxInputs];
        for (int o = 0; o < operands; o++) row[o] = call.operand[o].address + at.offset(call.operand[o].stride);
        for (int64_t pos = begin; pos < end;) {
            int64_t m = inner - column < block ? inner - column : block;
            if (m > end - pos) m = end - pos;
            for (int k = 0; k < p.inputs; k++) {
                int64_t stride = call.operand[p.outputs + k].stride[last];
                run.strided(k, row[p.outputs + k] + column * stride, stride, m);
            }
            for (int k = 0; k < p.outputs; k++) {
                if (direct[k]) run.redirect(p.store[k].value, row[k] + column * bytes(k));
            }
            run.evaluate(m);
            for (int k = 0; k < p.outputs; k++) {
                if (direct[k]) continue;
                int64_t stride = call.operand[k].stride[last];
                put(run, k, row[k] + column * stride, stride, m);
            }
            pos += m;
            column += m;
            if (column == inner) {
                column = 0;
                int stepped = at.step();
                for (int o = 0; o < operands; o++) row[o] += at.delta(call.operand[o].stride, stepped);
            }
        }
    }

    void packed(char* scratch, int64_t begin, int64_t end) const {
        BlockRunner run(p, scratch, call.scalars, end - begin);
        Odometer at;
        at.start(call.ndim, call.size, begin / inner);
        int64_t column = begin % inner;
        for (int64_t pos = begin; pos < end; pos += p.block) {
            int64_t m = end - pos < p.block ? end - pos : p.block;
            Odometer next = at;
            int64_t next_column = column;
            bool moved = false;
            for (int k = 0; k < p.inputs; k++) {
                int o = p.outputs + k;
                const Operand& operand = call.operand[o];
                if (layout[o] == Layout::single) {
                    run.broadcast(k, operand.address, m);
                } else if (layout[o] == Layout::contiguous) {
                    run.contiguous(k, operand.address + pos * bytes(o), m);
                } else if (p.load_value[k] >= 0) {
                    next = at;
                    next_column = column;
                    moved = true;
                    walk_rows<true>(operand, bytes(o), next, next_column, run.stage(k), m);
                    run.contiguous(k, run.stage(k), m);
                }
            }
            for (int k = 0; k < p.outputs; k++) {
                if (direct[k]) run.redirect(p.store[k].value, call.operand[k].address + pos * bytes(k));
            }
            run.evaluate(m);
            for (int k = 0; k < p.outputs; k++) {
                if (direct[k]) continue;
                const char* from = run.value(p.store[k].value);
                if (layout[k] == Layout::contiguous) {
                    convert_store(p.output[k], from, call.operand[k].address + pos * bytes(k), m);
                    continue;
                }
                if (converts(p.output[k])) {
                    convert_store(p.output[k], from, run.output_stage(k), m);
                    from = run.output_stage(k);
                }
                next = at;
                next_column = column;
                moved = true;
                walk_rows<false>(call.operand[k], bytes(k), next, next_column, const_cast<char*>(from), m);
            }
            if (moved) {
                at = next;
                column = next_column;
            }
        }
    }

  private:
    void put(BlockRunner& run, int k, char* to, int64_t stride, int64_t m) const {
        const char* from = run.value(p.store[k].value);
        int size = bytes(k);
        if (stride == size) {
            convert_store(p.output[k], from, to, m);
            return;
        }
        if (converts(p.output[k])) {
            convert_store(p.output[k], from, run.output_stage(k), m);
            from = run.output_stage(k);
        }
        scatter(size, to, stride, from, m);
    }

    // m elements in row-major order from (at, column), between the operand and packed memory; leaves the position after.
    template <bool kGather>
    void walk_rows(const Operand& operand, int size, Odometer& at, int64_t& column, char* packed, int64_t m) const {
        const int64_t stride = operand.stride[call.ndim - 1];
        char* row = operand.address + at.offset(operand.stride);
        while (m > 0) {
            int64_t run = inner - column < m ? inner - column : m;
            if (kGather) {
                gather(size, packed, row + column * stride, stride, run);
            } else {
                scatter(size, row + column * stride, stride, packed, run);
            }
            packed += run * size;
            m -= run;
            column += run;
            if (column == inner) {
                column = 0;
                int stepped = at.step();
                row += at.delta(operand.stride, stepped);
            }
        }
    }
};

int run(const Call& call) {
    const Program& p = *call.program;
    Walk walk{call, p, {}, {}, call.ndim > 0 ? call.size[call.ndim - 1] : 1};
    const int operands = p.outputs + p.inputs;
    bool flat = true;
    for (int o = 0; o < operands; o++) {
        walk.layout[o] = layout_of(call, call.operand[o], walk.bytes(o));
        flat = flat && (walk.layout[o] == Layout::contiguous || (o >= p.outputs && walk.layout[o] == Layout::single));
    }
    if (flat) {
        char* address[kMaxOutputs + kMaxInputs];
        uint32_t broadcast = 0;
        for (int o = 0; o < operands; o++) {
            address[o] = call.operand[o].address;
            if (walk.layout[o] == Layout::single) broadcast |= 1u << (o - p.outputs);
        }
        return run_flat(p, call.elements, address, broadcast, call.scalars);
    }
    const bool short_rows = walk.inner < kShortRow;
    for (int k = 0; k < p.outputs; k++) {
        // No overlap test for strided operands: in place only what is safe in any case.
        bool contiguous = short_rows ? walk.layout[k] == Layout::contiguous
                                     : call.operand[k].stride[call.ndim - 1] == walk.bytes(k);
        walk.direct[k] = contiguous && p.store[k].direct_static;
    }
    std::atomic<int> status{0};
    parallel_for(call.elements, kGrain, [&](int64_t begin, int64_t end) {
        char* scratch = thread_scratch(p.scratch_bytes);
        if (scratch == nullptr) {
            status.store(abi::kNoMemory);
        } else if (short_rows) {
            walk.packed(scratch, begin, end);
        } else {
            walk.rows(scratch, begin, end);
        }
    });
    return status.load();
}

const OpEntry* const kGroups[] = {kFloatOps, kIntOps, kCastOps, nullptr};

}  // namespace

extern const InterpTable interp_table;
const InterpTable interp_table = {kGroups, run, run_flat};

}  // namespace MERAPI_ISA
}  // namespace merapi
