// SPDX-License-Identifier: Apache-2.0
#include "structured.h"

#include "isa.h"
#include "merapi_kernels.h"

namespace merapi {
namespace abi {

#define MERAPI_KERNEL(result, name, parameters, arguments) \
    result name parameters { return MERAPI_BEST(name, arguments); }
#include "structured.def"
#undef MERAPI_KERNEL

}  // namespace abi
}  // namespace merapi
