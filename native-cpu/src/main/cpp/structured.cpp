// SPDX-License-Identifier: Apache-2.0
#include "structured.h"

#include "isa.h"
#include "merapi_kernels.h"

namespace merapi {
namespace abi {

#define MERAPI_DEFINE(result, name, parameters, arguments) \
    result name parameters { return MERAPI_BEST(name, arguments); }
MERAPI_STRUCTURED(MERAPI_DEFINE)
#undef MERAPI_DEFINE

}  // namespace abi
}  // namespace merapi
