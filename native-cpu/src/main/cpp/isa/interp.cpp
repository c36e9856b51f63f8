// SPDX-License-Identifier: Apache-2.0
//
// The pointwise interpreter: walks the iteration space in blocks and gives each to a BlockRunner. Contiguous operands
// have a loop of their own, for calls on a handful of elements and for single ops that need no blocks at all.
#include <atomic>

#include "../merapi_cpu.h"
#include "../pool.h"
#include "tiles.h"

namespace merapi {
namespace MERAPI_ISA {

extern const OpEntry kFloatOps[];
extern const OpEntry kIntOps[];
extern const OpEntry kCastOps[];

namespace {

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
                convert_store(p, k, run.value(p.store[k].value), address[k] + at * storage_size(p.output[k]), m);
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

// ---- any layout -----------------------------------------------------------------------------------------------------

void strided_chunk(const Space& space, const bool* direct, const Scalar* scalars, char* scratch, int64_t begin,
                   int64_t end) {
    const Program& p = *space.program;
    int64_t longest = space.way == Way::rows && space.inner < end - begin ? space.inner : end - begin;
    BlockRunner run(p, scratch, scalars, longest);
    Cursor at(space, begin);
    for (int64_t pos = begin; pos < end;) {
        int64_t m = end - pos < p.block ? end - pos : p.block;
        if (at.room() < m) m = at.room();
        at.feed(run, m);
        for (int k = 0; k < p.outputs; k++) {
            if (direct[k]) run.redirect(p.store[k].value, at.output(k));
        }
        run.evaluate(m);
        for (int k = 0; k < p.outputs; k++) {
            if (direct[k]) continue;
            const char* from = run.value(p.store[k].value);
            bool contiguous = space.way == Way::rows ? space.operand[k].stride[space.ndim - 1] == space.bytes(k)
                                                     : space.layout[k] == Layout::contiguous;
            if (contiguous) {
                convert_store(p, k, from, at.output(k), m);
                continue;
            }
            if (converts(p.output[k])) {
                convert_store(p, k, from, run.output_stage(k), m);
                from = run.output_stage(k);
            }
            at.put(k, from, m);
        }
        at.advance(m);
        pos += m;
    }
}

int run(const Call& call) {
    const Program& p = *call.program;
    Space space;
    space.program = &p;
    space.ndim = call.ndim;
    space.size = call.size;
    space.outputs = p.outputs;
    space.operands = p.outputs + p.inputs;
    space.operand = call.operand;
    space.classify();
    if (space.way == Way::flat) {
        char* address[kMaxOutputs + kMaxInputs];
        uint32_t broadcast = 0;
        for (int o = 0; o < space.operands; o++) {
            address[o] = call.operand[o].address;
            if (space.layout[o] == Layout::single) broadcast |= 1u << (o - p.outputs);
        }
        return run_flat(p, call.elements, address, broadcast, call.scalars);
    }
    std::atomic<int> status{0};
    Tiling tiling(space);
    if (tiling.rows_dim >= 0) {
        parallel_for(tiling.tiles, kGrain / p.block, [&](int64_t begin, int64_t end) {
            char* scratch = thread_scratch(p.scratch_bytes);
            if (scratch == nullptr) {
                status.store(abi::kNoMemory);
            } else {
                tiling.run(scratch, call.scalars, begin, end);
            }
        });
        return status.load();
    }
    bool direct[kMaxOutputs];
    for (int k = 0; k < p.outputs; k++) {
        // No overlap test for strided operands: in place only what is safe in any case.
        bool contiguous = space.way == Way::rows ? call.operand[k].stride[call.ndim - 1] == space.bytes(k)
                                                 : space.layout[k] == Layout::contiguous;
        direct[k] = contiguous && p.store[k].direct_static;
    }
    parallel_for(call.elements, kGrain, [&](int64_t begin, int64_t end) {
        char* scratch = thread_scratch(p.scratch_bytes);
        if (scratch == nullptr) {
            status.store(abi::kNoMemory);
        } else {
            strided_chunk(space, direct, call.scalars, scratch, begin, end);
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
