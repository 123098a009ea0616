#include <doctest/doctest.h>
#include <sched.h>

#include "cores.hpp"
#include "fixtures.hpp"

namespace inferd {
namespace {

TEST_CASE("a quota is rounded down, and one processor is the least") {
    CHECK(quota_cores("200000 100000\n") == 2);
    CHECK(quota_cores("250000 100000\n") == 2);
    CHECK(quota_cores("10000 100000\n") == 1);
    for (const auto* text : {"", "max 100000\n", "100000", "100000 0\n", "a b", "1\n2"}) {
        CAPTURE(text);
        CHECK_FALSE(quota_cores(text));
    }
}

TEST_CASE("the group of version 2 is found among those of version 1") {
    CHECK(own_group("12:cpu:/a\n0::/system.slice/inferd.service\n") ==
          "/system.slice/inferd.service");
    CHECK(own_group("0::/") == "/");
    CHECK(own_group("12:cpu:/a\n").empty());
    CHECK(own_group("").empty());
}

TEST_CASE("the least quota of all groups above counts") {
    const TemporaryFolder folder;
    const auto root = folder.path().string();
    std::filesystem::create_directories(folder.path() / "a" / "b");
    CHECK_FALSE(group_cores(root, "/a/b"));
    std::ofstream(folder.path() / "a" / "b" / "cpu.max") << "400000 100000\n";
    CHECK(group_cores(root, "/a/b") == 4);
    std::ofstream(folder.path() / "a" / "cpu.max") << "200000 100000\n";
    CHECK(group_cores(root, "/a/b") == 2);
    std::ofstream(folder.path() / "cpu.max") << "max 100000\n";
    CHECK(group_cores(root, "/a/b") == 2);
    CHECK_FALSE(group_cores(root, ""));
}

TEST_CASE("affinity is kept") {
    cpu_set_t before;
    REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; ++i) {
        if (CPU_ISSET(i, &before)) {
            CPU_SET(i, &one);
            break;
        }
    }
    REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
    CHECK(usable_cores() == 1);
    REQUIRE(::sched_setaffinity(0, sizeof before, &before) == 0);
    CHECK(usable_cores() >= 1);
}

}  // namespace
}  // namespace inferd
