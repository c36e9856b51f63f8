// SPDX-License-Identifier: Apache-2.0
//
// What a container or a service may use of the machine's memory, as Linux has it in files.
#pragma once

#include <cstdint>

namespace merapi {

// Bytes that this process's control group may have: the least along the way from its group up to the root, of version 1
// or 2; -1 without a limit, and on other systems. `root` is the folder in which /proc and /sys stand: "" but in tests.
int64_t cgroup_memory_limit(const char* root);

}  // namespace merapi
