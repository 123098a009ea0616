#include "cores.hpp"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <thread>

namespace inferd {
namespace {

std::string read_text(const std::string& path) {
    std::ifstream stream(path);
    return {std::istreambuf_iterator<char>(stream), {}};
}

// A number at the beginning of the text, which it leaves.
std::optional<std::uint64_t> take_number(std::string_view& text) {
    std::uint64_t number = 0;
    const auto [end, failed] = std::from_chars(text.begin(), text.end(), number);
    if (failed != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.begin()));
    return number;
}

unsigned affinity_cores() {
    cpu_set_t set;
    CPU_ZERO(&set);
    // Fails on machines with more processors than the set has room for.
    if (::sched_getaffinity(0, sizeof set, &set) == 0) {
        return static_cast<unsigned>(CPU_COUNT(&set));
    }
    return std::thread::hardware_concurrency();
}

}  // namespace

std::optional<unsigned> quota_cores(std::string_view cpu_max) {
    const auto quota = take_number(cpu_max);
    if (!quota || !cpu_max.starts_with(' ')) return std::nullopt;
    cpu_max.remove_prefix(1);
    const auto period = take_number(cpu_max);
    if (!period || *period == 0) return std::nullopt;
    constexpr std::uint64_t kMost = 1 << 20;
    return static_cast<unsigned>(std::clamp<std::uint64_t>(*quota / *period, 1, kMost));
}

std::string own_group(std::string_view text) {
    constexpr std::string_view kVersion2 = "0::";
    while (!text.empty()) {
        const auto line = text.substr(0, text.find('\n'));
        if (line.starts_with(kVersion2)) return std::string(line.substr(kVersion2.size()));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
    }
    return {};
}

std::optional<unsigned> group_cores(const std::string& root, std::string group) {
    std::optional<unsigned> least;
    for (;;) {
        const auto cores = quota_cores(read_text(root + group + "/cpu.max"));
        if (cores) least = std::min(least.value_or(*cores), *cores);
        const auto slash = group.rfind('/');
        if (slash == std::string::npos) return least;
        group.resize(slash);
    }
}

unsigned usable_cores() {
    const auto group = own_group(read_text("/proc/self/cgroup"));
    const auto quota = group_cores("/sys/fs/cgroup", group == "/" ? "" : group);
    const auto cores = std::max(1U, affinity_cores());
    return quota ? std::min(cores, *quota) : cores;
}

}  // namespace inferd
