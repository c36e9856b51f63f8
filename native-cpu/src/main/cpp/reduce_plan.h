// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "program.h"

namespace merapi {

// Sizes and strides as the caller gave them: kept dims, then reduced dims.
struct ReduceCall {
    const Program* program;
    int kept;
    int reduced;
    int64_t size[kMaxDims];
    Operand result;  // strides over the kept dims
    Operand mean;
    Operand input[kMaxInputs];
    double correction;
    const Scalar* scalars;
};

// Drops dimensions of size 1, orders the rest by how close they lie in memory, merges what is contiguous, and decides
// between rows and columns. All sizes are positive.
ReducePlan plan_reduction(const ReduceCall& call);

}  // namespace merapi
