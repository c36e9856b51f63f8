// SPDX-License-Identifier: Apache-2.0
//
// Walks an iteration space of up to 16 dimensions and gives its operands to a BlockRunner, window by window.
//
// Three ways, by the layout of the operands:
//   flat    every operand is contiguous over the whole space, or one element: windows anywhere;
//   rows    windows within rows of the last dimension, strided operands gathered;
//   packed  short rows: several of them are packed into a window, so that its cost is shared.
#pragma once

#include "block.h"

namespace merapi {
namespace MERAPI_ISA {

// Rows shorter than this are packed: copying a row costs a few ns, setting up a block some 30.
constexpr int64_t kShortRow = 96;

enum class Layout : uint8_t { contiguous, single, general };
enum class Way : uint8_t { flat, rows, packed };

struct Space {
    const Program* program;
    int ndim;
    const int64_t* size;
    int64_t inner;  // size of the last dimension
    int outputs;    // operands that come before the inputs
    int operands;
    const Operand* operand;
    Layout layout[kMaxOutputs + kMaxInputs];
    Way way;

    int bytes(int o) const {
        return o < outputs ? storage_size(program->output[o]) : storage_size(program->input[o - outputs]);
    }

    // Fills in the layouts and the way. Outputs of one element for all are walked like general ones.
    void classify() {
        inner = ndim > 0 ? size[ndim - 1] : 1;
        bool flat = true;
        for (int o = 0; o < operands; o++) {
            layout[o] = layout_of(operand[o], bytes(o));
            flat = flat && (layout[o] == Layout::contiguous || (o >= outputs && layout[o] == Layout::single));
        }
        way = flat ? Way::flat : (inner < kShortRow ? Way::packed : Way::rows);
    }

 private:
    Layout layout_of(const Operand& o, int element) const {
        bool contiguous = true, single = true;
        int64_t expected = element;
        for (int d = ndim - 1; d >= 0; d--) {
            if (size[d] == 1) continue;
            contiguous = contiguous && o.stride[d] == expected;
            single = single && o.stride[d] == 0;
            expected *= size[d];
        }
        return contiguous ? Layout::contiguous : (single ? Layout::single : Layout::general);
    }
};

// A position in an iteration space, walked in row-major order: for each operand the byte offset of the current row (the
// last dimension is the caller's).
struct Odometer {
    int outer;  // dims but the last
    const int64_t* size;
    int64_t index[kMaxDims];

    MERAPI_INLINE void start(int ndim, const int64_t* sizes, int64_t row) {
        outer = ndim - 1;
        size = sizes;
        for (int d = outer - 1; d >= 0; d--) {
            index[d] = row % sizes[d];
            row /= sizes[d];
        }
    }
    MERAPI_INLINE int64_t offset(const int64_t* stride) const {
        int64_t bytes = 0;
        for (int d = 0; d < outer; d++) bytes += index[d] * stride[d];
        return bytes;
    }
    // To the next row. Returns the dimension that stepped; those after it went back to zero.
    MERAPI_INLINE int step() {
        int d = outer - 1;
        for (; d > 0; d--) {
            if (++index[d] < size[d]) return d;
            index[d] = 0;
        }
        if (d == 0) index[0]++;
        return d;
    }
    // What `step` did, for one operand's offset.
    MERAPI_INLINE int64_t delta(const int64_t* stride, int stepped) const {
        int64_t bytes = stepped >= 0 ? stride[stepped] : 0;
        for (int d = stepped + 1; d < outer; d++) bytes -= (size[d] - 1) * stride[d];
        return bytes;
    }
};

// Where a thread is in a space. `feed` and the output functions look at the window that begins here; `advance` leaves
// it.
class Cursor {
 public:
    MERAPI_INLINE Cursor(const Space& space, int64_t pos) : s(space), p(*space.program) { seek(pos); }

    void seek(int64_t pos) {
        position = pos;
        if (s.way == Way::flat) return;
        at.start(s.ndim, s.size, pos / s.inner);
        column = pos % s.inner;
        walked = 0;
        if (s.way == Way::rows) {
            for (int o = 0; o < s.operands; o++) row[o] = s.operand[o].address + at.offset(s.operand[o].stride);
        }
    }

    // Elements that a window may have here.
    MERAPI_INLINE int64_t room() const { return s.way == Way::rows ? s.inner - column : INT64_MAX; }

    MERAPI_INLINE void feed(BlockRunner& run, int64_t m) {
        for (int k = 0; k < p.inputs; k++) {
            int o = s.outputs + k;
            const Operand& operand = s.operand[o];
            if (s.layout[o] == Layout::single) {
                run.broadcast(k, operand.address, m);
            } else if (s.way == Way::rows) {
                int64_t stride = operand.stride[s.ndim - 1];
                run.strided(k, row[o] + column * stride, stride, m);
            } else if (s.layout[o] == Layout::contiguous) {
                run.contiguous(k, operand.address + position * s.bytes(o), m);
            } else if (p.load_value[k] >= 0) {
                walk_rows<true>(operand, s.bytes(o), run.stage(k), m);
                run.contiguous(k, run.stage(k), m);
            }
        }
    }

    // Where m elements of output k lie, if they are contiguous.
    MERAPI_INLINE char* output(int k) const {
        if (s.way == Way::rows) return row[k] + column * s.operand[k].stride[s.ndim - 1];
        return s.operand[k].address + position * s.bytes(k);
    }
    // m packed elements into output k, however it lies.
    MERAPI_INLINE void put(int k, const char* from, int64_t m) {
        if (s.way == Way::rows) {
            scatter(s.bytes(k), output(k), s.operand[k].stride[s.ndim - 1], from, m);
        } else {
            walk_rows<false>(s.operand[k], s.bytes(k), const_cast<char*>(from), m);
        }
    }

    MERAPI_INLINE void advance(int64_t m) {
        position += m;
        if (s.way == Way::rows) {
            column += m;
            if (column == s.inner) next_row(0);
        } else if (s.way == Way::packed) {
            if (walked == m) {
                at = after;
                column = column_after;
                walked = 0;
            } else {
                seek(position);
            }
        }
    }

    // Way::rows only: to column `to` of the next row.
    MERAPI_INLINE void next_row(int64_t to) {
        column = to;
        int stepped = at.step();
        for (int o = 0; o < s.operands; o++) row[o] += at.delta(s.operand[o].stride, stepped);
    }

 private:
    // Copies m elements between the operand, in row-major order from here, and packed memory.
    template <bool kGather>
    void walk_rows(const Operand& operand, int size, char* packed, int64_t m) {
        const int64_t stride = operand.stride[s.ndim - 1];
        after = at;
        column_after = column;
        walked = m;
        char* from = operand.address + at.offset(operand.stride);
        while (m > 0) {
            int64_t n = s.inner - column_after < m ? s.inner - column_after : m;
            if (kGather) {
                gather(size, packed, from + column_after * stride, stride, n);
            } else {
                scatter(size, from + column_after * stride, stride, packed, n);
            }
            packed += n * size;
            m -= n;
            column_after += n;
            if (column_after == s.inner) {
                column_after = 0;
                int stepped = after.step();
                from += after.delta(operand.stride, stepped);
            }
        }
    }

    const Space& s;
    const Program& p;
    int64_t position = 0;
    int64_t column = 0;
    Odometer at;
    char* row[kMaxOutputs + kMaxInputs];
    // The position after the window, known once an operand of it has been walked (`walked` elements).
    Odometer after;
    int64_t column_after = 0;
    int64_t walked = 0;
};

}  // namespace MERAPI_ISA
}  // namespace merapi
