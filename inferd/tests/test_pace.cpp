#include <doctest/doctest.h>

#include "pace.hpp"

namespace inferd {
namespace {

constexpr Pace::Seconds kShort{50e-6};
constexpr Pace::Seconds kLong{5e-3};

TEST_CASE("what has not run yet is not quick") { CHECK_FALSE(Pace().quick(1)); }

TEST_CASE("a quick model is one only for as many rows as take no longer") {
    Pace pace;
    pace.add(kShort, 1);
    CHECK(pace.quick(1));
    CHECK(pace.quick(5));
    CHECK_FALSE(pace.quick(6));
}

TEST_CASE("a batch is measured by the row") {
    Pace pace;
    pace.add(kLong, 100);
    CHECK(pace.quick(1));
    CHECK_FALSE(pace.quick(100));
}

TEST_CASE("a slow first run is forgotten, a lasting change is noticed") {
    Pace pace;
    pace.add(kLong, 1);
    CHECK_FALSE(pace.quick(1));
    for (int i = 0; i < 30; ++i) pace.add(kShort, 1);
    CHECK(pace.quick(1));
    pace.add(kLong, 1);
    CHECK_FALSE(pace.quick(1));
}

TEST_CASE("after a run that took surprisingly long, none is quick for a while") {
    Pace pace;
    pace.add(Pace::kSurprise * 2, 1);
    for (int i = 1; i < Pace::kWary; ++i) pace.add(kShort, 1);
    CHECK_FALSE(pace.quick(1));
    pace.add(kShort, 1);
    CHECK(pace.quick(1));
}

TEST_CASE("no rows are taken as one") {
    Pace pace;
    pace.add(kShort, 0);
    CHECK(pace.quick(1));
}

}  // namespace
}  // namespace inferd
