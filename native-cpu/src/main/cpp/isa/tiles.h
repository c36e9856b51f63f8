// SPDX-License-Identifier: Apache-2.0
//
// The walk for operands that are contiguous along different dimensions (a transposed copy, x + y^T). Along rows, one of
// them would touch a cache line an element; so the space is cut into tiles of two dimensions, and each operand's tile
// is brought together along the dimension in which that operand lies.
#pragma once

#include "walk.h"

namespace merapi {
namespace MERAPI_ISA {

constexpr int64_t kTileColumns = 32;

// A tile between two memories: `rows` along the other dimension, `columns` along the last one. The walk follows the
// dimension in which `from` or `to` is strided memory: reads in order, writes into the 4 KiB that L1 holds.
template <class T>
inline void copy_tile_typed(char* to, int64_t to_row, int64_t to_column, const char* from, int64_t from_row,
                            int64_t from_column, int64_t rows, int64_t columns, bool by_rows) {
    if (by_rows) {
        for (int64_t r = 0; r < rows; r++) {
            for (int64_t c = 0; c < columns; c++) {
                *reinterpret_cast<T*>(to + r * to_row + c * to_column) =
                    *reinterpret_cast<const T*>(from + r * from_row + c * from_column);
            }
        }
        return;
    }
    for (int64_t c = 0; c < columns; c++) {
        char* t = to + c * to_column;
        const char* f = from + c * from_column;
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4) {
            T x0 = *reinterpret_cast<const T*>(f + r * from_row);
            T x1 = *reinterpret_cast<const T*>(f + (r + 1) * from_row);
            T x2 = *reinterpret_cast<const T*>(f + (r + 2) * from_row);
            T x3 = *reinterpret_cast<const T*>(f + (r + 3) * from_row);
            *reinterpret_cast<T*>(t + r * to_row) = x0;
            *reinterpret_cast<T*>(t + (r + 1) * to_row) = x1;
            *reinterpret_cast<T*>(t + (r + 2) * to_row) = x2;
            *reinterpret_cast<T*>(t + (r + 3) * to_row) = x3;
        }
        for (; r < rows; r++) *reinterpret_cast<T*>(t + r * to_row) = *reinterpret_cast<const T*>(f + r * from_row);
    }
}

inline void copy_tile(int size, char* to, int64_t to_row, int64_t to_column, const char* from, int64_t from_row,
                      int64_t from_column, int64_t rows, int64_t columns) {
    if (to_column == size && from_column == size) {
        for (int64_t r = 0; r < rows; r++)
            std::memcpy(to + r * to_row, from + r * from_row, static_cast<size_t>(columns * size));
        return;
    }
    bool by_rows = !(to_row == size || from_row == size);
    switch (size) {
        case 8:
            copy_tile_typed<uint64_t>(to, to_row, to_column, from, from_row, from_column, rows, columns, by_rows);
            break;
        case 4:
            copy_tile_typed<uint32_t>(to, to_row, to_column, from, from_row, from_column, rows, columns, by_rows);
            break;
        case 2:
            copy_tile_typed<uint16_t>(to, to_row, to_column, from, from_row, from_column, rows, columns, by_rows);
            break;
        default:
            copy_tile_typed<uint8_t>(to, to_row, to_column, from, from_row, from_column, rows, columns, by_rows);
    }
}

struct Tiling {
    const Space& s;
    int rows_dim = -1;  // the tiles' other dimension; -1: tiles don't help
    int64_t tile_rows = 0;
    int64_t down = 0, across = 0, tiles = 0;

    explicit Tiling(const Space& space) : s(space) {
        if (s.ndim < 2 || s.inner < 16) return;
        for (int o = 0; o < s.operands; o++) {
            int64_t stride = s.operand[o].stride[s.ndim - 1];
            if (stride == 0 || stride == s.bytes(o)) continue;
            for (int d = 0; d < s.ndim - 1; d++) {
                if (s.operand[o].stride[d] == s.bytes(o) && s.size[d] >= 16) rows_dim = d;
            }
        }
        if (rows_dim < 0) return;
        tile_rows = s.program->block / kTileColumns;
        down = (s.size[rows_dim] + tile_rows - 1) / tile_rows;
        across = (s.inner + kTileColumns - 1) / kTileColumns;
        tiles = down * across;
        for (int d = 0; d < s.ndim - 1; d++) {
            if (d != rows_dim) tiles *= s.size[d];
        }
    }

    // Runs tiles [begin, end).
    void run(char* scratch, const Scalar* scalars, int64_t begin, int64_t end) const {
        const Program& p = *s.program;
        const int last = s.ndim - 1;
        BlockRunner run(p, scratch, scalars, p.block);
        for (int64_t tile = begin; tile < end; tile++) {
            int64_t c = tile % across * kTileColumns, r = tile / across % down * tile_rows, rest = tile / across / down;
            int64_t columns = s.inner - c < kTileColumns ? s.inner - c : kTileColumns;
            int64_t rows = s.size[rows_dim] - r < tile_rows ? s.size[rows_dim] - r : tile_rows;
            int64_t index[kMaxDims];
            for (int d = last - 1; d >= 0; d--) {
                if (d == rows_dim) continue;
                index[d] = rest % s.size[d];
                rest /= s.size[d];
            }
            index[rows_dim] = r;
            index[last] = c;
            const int64_t m = rows * columns;
            for (int k = 0; k < p.inputs; k++) {
                const int o = s.outputs + k;
                if (p.load_value[k] < 0) continue;
                const int64_t* stride = s.operand[o].stride;
                const char* from = corner(o, index);
                if (stride[rows_dim] == 0 && stride[last] == 0) {
                    run.broadcast(k, from, m);
                    continue;
                }
                const int size = s.bytes(o);
                copy_tile(size, run.stage(k), columns * size, size, from, stride[rows_dim], stride[last], rows,
                          columns);
                run.contiguous(k, run.stage(k), m);
            }
            run.evaluate(m);
            for (int k = 0; k < p.outputs; k++) {
                const char* from = run.value(p.store[k].value);
                if (converts(p.output[k])) {
                    convert_store(p, k, from, run.output_stage(k), m);
                    from = run.output_stage(k);
                }
                const int size = s.bytes(k);
                copy_tile(size, corner(k, index), s.operand[k].stride[rows_dim], s.operand[k].stride[last], from,
                          columns * size, size, rows, columns);
            }
        }
    }

 private:
    char* corner(int o, const int64_t* index) const {
        char* at = s.operand[o].address;
        for (int d = 0; d < s.ndim; d++) at += index[d] * s.operand[o].stride[d];
        return at;
    }
};

}  // namespace MERAPI_ISA
}  // namespace merapi
