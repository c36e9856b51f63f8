// SPDX-License-Identifier: Apache-2.0
#include "cgroup.h"

#include <cstdio>
#include <string>

namespace merapi {
namespace {

// Version 1 says "no limit" by the largest number of whole pages.
constexpr int64_t kNone = int64_t{1} << 60;

// The number in a file, or kNone if it cannot be read or says "max".
int64_t limit_in(const std::string& path) {
    FILE* file = std::fopen(path.c_str(), "r");
    if (file == nullptr) return kNone;
    long long value = 0;
    bool read = std::fscanf(file, "%lld", &value) == 1;
    std::fclose(file);
    return read && value > 0 && value < kNone ? value : kNone;
}

// A container that does not see the groups above its own is told their names all the same: folders that are not there
// have no limit, and the root of what is mounted is its own group.
int64_t least_on_the_way_up(const std::string& mount, std::string group, const char* file) {
    int64_t least = kNone;
    for (;;) {
        int64_t here = limit_in(mount + group + "/" + file);
        if (here < least) least = here;
        size_t slash = group.rfind('/');
        if (slash == std::string::npos) return least;
        group.erase(slash);
    }
}

}  // namespace

int64_t cgroup_memory_limit(const char* root) {
    const std::string mount = std::string(root) + "/sys/fs/cgroup";
    int64_t least = kNone;
    // A line is id:controllers:group; version 2 has the id 0 and no controllers.
    FILE* groups = std::fopen((std::string(root) + "/proc/self/cgroup").c_str(), "r");
    char buffer[4096];
    while (groups != nullptr && std::fgets(buffer, sizeof buffer, groups) != nullptr) {
        std::string line = buffer;
        if (!line.empty() && line.back() == '\n') line.pop_back();
        size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        std::string group = line.substr(second + 1);
        if (group == "/") group.clear();
        int64_t here = kNone;
        if (controllers == ",,") {
            here = least_on_the_way_up(mount, group, "memory.max");
        } else if (controllers.find(",memory,") != std::string::npos) {
            here = least_on_the_way_up(mount + "/memory", group, "memory.limit_in_bytes");
        }
        if (here < least) least = here;
    }
    if (groups != nullptr) std::fclose(groups);
    return least == kNone ? -1 : least;
}

}  // namespace merapi
