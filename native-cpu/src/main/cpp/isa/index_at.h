// SPDX-License-Identifier: Apache-2.0
//
// An index of either type. Include only from isa/*.cpp, as simd.h.
#pragma once

#include "../indices.h"
#include "lanes.h"

namespace merapi {
namespace MERAPI_ISA {

// As index_once, for indices of i32 or i64.
inline int64_t index_at(int index_dtype, int64_t indices, int64_t position, int64_t dim, Outside& outside) {
    return storage_of(index_dtype) == Storage::i32 ? index_once(at<const int32_t>(indices), position, dim, outside)
                            : index_once(at<const int64_t>(indices), position, dim, outside);
}

}  // namespace MERAPI_ISA
}  // namespace merapi
