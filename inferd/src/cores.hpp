// How many processors this process may use: those of the machine, of its affinity, of its control
// groups, whatever is least.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace inferd {

// Whole processors that the text of a `cpu.max` allows, at least 1; nothing for `max` and for what
// is no quota.
std::optional<unsigned> quota_cores(std::string_view cpu_max);

// The group of version 2 in the text of /proc/self/cgroup: a path from the root, or empty.
std::string own_group(std::string_view text);

// Least quota of a group and all above it; `root` is where control groups are mounted.
std::optional<unsigned> group_cores(const std::string& root, std::string group);

unsigned usable_cores();

}  // namespace inferd
