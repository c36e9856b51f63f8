// SPDX-License-Identifier: Apache-2.0
//
// A pointwise program, parsed once from text and run many times, block by block.
//
// Parsing renames the text's registers to values (each is written once), so that a block may take a value from wherever
// it lies: a slot of L1-resident scratch, an input's memory or an output's memory. Values live in scratch as follows:
// constants, scalars and loads have a slot of their own (constants are filled once a chunk, a broadcast load once a
// row); the results of instructions share slots by lifetime.
#pragma once

#include <cstdint>

#include "dtypes.h"

namespace merapi {

constexpr int kMaxDims = 16;
constexpr int kMaxInputs = 24;
constexpr int kMaxOutputs = 8;
constexpr int kMaxScalars = 32;
constexpr int kMaxValues = 512;
constexpr int kMaxRegisters = 64;

// n elements: d = op(a, b, c). Operands beyond the op's arity are not read. d may be the very memory of an operand.
using OpFn = void (*)(void* d, const void* a, const void* b, const void* c, int64_t n);

// One line of the op vocabulary. Casts are named "cast.<to>".
struct OpEntry {
    const char* name;
    Reg type;
    Reg result;
    int8_t arity;
    OpFn fn;
};

struct Instruction {
    OpFn fn;
    int16_t d, a, b, c;  // value numbers; operands that the op doesn't have repeat `a`
};

enum class Source : uint8_t { constant, scalar, load, computed };

struct Value {
    Source source;
    Reg type;
    int16_t index;    // scalar or input number
    uint64_t bits;    // constant
    int32_t slot;     // byte offset in scratch
    int16_t defined;  // instruction that writes it (computed)
};

struct Store {
    int16_t value;
    bool direct_static;  // written straight to the output: no instruction after its own reads an input
    bool direct_maybe;   // the same, if no input overlaps the output
};

enum class ReduceOp : uint8_t { none, sum, prod, min, max, argmin, argmax, any, all, mean, sumsq, var };

struct Program {
    static constexpr uint64_t kMagic = 0x4d65726170693031ull;
    uint64_t magic = kMagic;
    int inputs = 0, outputs = 0, scalars = 0;
    int values = 0, fixed_values = 0;  // the first fixed_values are constants and scalars
    int instructions = 0;
    int block = 1024;          // elements
    bool needs_slots = false;  // false: every value is input or output memory when all is contiguous
    int64_t scratch_bytes = 0;
    Storage input[kMaxInputs];
    Storage output[kMaxOutputs];
    int16_t load_value[kMaxInputs];   // -1: never loaded
    int32_t input_stage[kMaxInputs];  // scratch for gathered raw elements
    int32_t output_stage[kMaxOutputs];
    Store store[kMaxOutputs];
    Value value[kMaxValues];
    Instruction instruction[kMaxValues];
    ReduceOp reduce = ReduceOp::none;
    Storage reduce_result = Storage::f32;
};

struct Scalar {
    double real;
    int64_t integer;
};

// One tensor operand over the iteration space, byte strides, outermost dimension first.
struct Operand {
    char* address;
    int64_t stride[kMaxDims];
};

// A validated call.
struct Call {
    const Program* program;
    int ndim;
    int64_t size[kMaxDims];
    int64_t elements;
    const Scalar* scalars;
    Operand operand[kMaxOutputs + kMaxInputs];  // outputs, then inputs
};

// A reduction, laid out for the kernel. The space's dimensions are
//   rows:    kept…, reduced…            an output's elements follow each other;
//   columns: kept…, reduced…, column    the last kept dimension lies closest in memory: whole rows are accumulated.
struct ReducePlan {
    const Program* program;
    int ndim;
    int64_t size[kMaxDims];
    Operand input[kMaxInputs];
    bool by_columns;
    int64_t outputs;  // kept elements, without the columns
    int64_t length;   // reduced elements an output
    int64_t columns;  // 1 for rows
    int kept;         // kept dims, the column included
    int64_t kept_size[kMaxDims];
    Operand result;  // strides over the kept dims
    Operand mean;    // var's second result; address null when not wanted
    double correction;
    const Scalar* scalars;
};

// nullptr, with a zero-terminated message in `error`, if the text is not a program, or if it needs more than one of the
// limits above: then it is `beyond`.
Program* parse_program(const char* text, int64_t length, bool reduction, bool* beyond, char* error,
                       int64_t error_capacity);

// The op vocabulary of the instruction set at hand, with its entries' functions.
const OpEntry* find_op(const char* name, Reg type);

struct InterpTable {
    const OpEntry* const* groups;  // null-terminated lists, ended by a null group
    // Runs the whole call on the pool. Returns a status code of merapi_cpu.h.
    int (*run)(const Call&);
    // Contiguous operands (bit k of `broadcast`: input k is one element); addresses: outputs, then inputs.
    int (*run_flat)(const Program&, int64_t n, char* const* addresses, uint32_t broadcast, const Scalar* scalars);
};
const InterpTable& interp_table();

struct ReduceTable {
    int (*run)(const ReducePlan&);
};
const ReduceTable& reduce_table();

// Scratch of the calling thread, 64-byte aligned; null when there is no memory.
char* thread_scratch(int64_t bytes);

}  // namespace merapi
