// SPDX-License-Identifier: Apache-2.0
//
// How elements are stored. One row a type: a name that programs and Java use, its bytes, and the register that it is
// computed in. Java asks for the number of a name when it starts (dtype_code), and has no numbers of its own.
#pragma once

#include <cstdint>

namespace merapi {

enum class Reg : uint8_t { f32, f64, i32, i64, boolean };

// X(enumerator, name, bytes, register, whether registers hold it in another form)
#define MERAPI_STORAGES(X)            \
    X(f32, "f32", 4, f32, false)      \
    X(f64, "f64", 8, f64, false)      \
    X(f16, "f16", 2, f32, true)       \
    X(bf16, "bf16", 2, f32, true)     \
    X(i32, "i32", 4, i32, false)      \
    X(i64, "i64", 8, i64, false)      \
    X(u8, "u8", 1, i32, true)         \
    X(boolean, "bool", 1, boolean, false) \
    X(i8, "i8", 1, i32, true)         \
    X(i16, "i16", 2, i32, true)

enum class Storage : uint8_t {
#define MERAPI_ROW(id, name, bytes, reg, converts) id,
    MERAPI_STORAGES(MERAPI_ROW)
#undef MERAPI_ROW
};

struct StorageRow {
    const char* name;
    int bytes;
    Reg reg;
    bool converts;
};

// Internal to each file, with what reads it: nothing that instruction sets could share by name.
constexpr StorageRow kStorages[] = {
#define MERAPI_ROW(id, name, bytes, reg, converts) {name, bytes, Reg::reg, converts},
    MERAPI_STORAGES(MERAPI_ROW)
#undef MERAPI_ROW
};
constexpr int kStorageCount = static_cast<int>(sizeof(kStorages) / sizeof(kStorages[0]));

static inline constexpr const StorageRow& row_of(Storage s) { return kStorages[static_cast<int>(s)]; }
static inline constexpr int storage_size(Storage s) { return row_of(s).bytes; }
static inline constexpr Reg reg_of(Storage s) { return row_of(s).reg; }
static inline constexpr bool converts(Storage s) { return row_of(s).converts; }
constexpr int reg_size(Reg r) { return r == Reg::f64 || r == Reg::i64 ? 8 : (r == Reg::boolean ? 1 : 4); }

// A dtype as it crosses from Java.
constexpr Storage storage_of(int dtype) { return static_cast<Storage>(dtype); }

// What a loss of many rows becomes; numbered and asked for as dtypes are (reduction_code).
enum class LossReduction { none, mean, sum };
constexpr const char* kLossReductions[] = {"none", "mean", "sum"};
// What becomes of values that meet at an element (scatter_reduction_code).
enum class ScatterReduction { sum, prod, mean, amax, amin };
constexpr const char* kScatterReductions[] = {"sum", "prod", "mean", "amax", "amin"};
constexpr ScatterReduction scatter_reduction_of(int reduction) { return static_cast<ScatterReduction>(reduction); }
constexpr LossReduction loss_reduction_of(int reduction) { return static_cast<LossReduction>(reduction); }

}  // namespace merapi
