#include <doctest/doctest.h>

#include <limits>

#include "compare.hpp"
#include "fixtures.hpp"

namespace inferd {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

Difference floats(const std::vector<float>& got, const std::vector<float>& want,
                  Tolerance tolerance = {0.01, 0.001}) {
    const std::vector<std::int64_t> shape = {1, static_cast<std::int64_t>(want.size())};
    return compare(tensor(DType::kF32, shape, got), tensor(DType::kF32, shape, want), tolerance);
}

TEST_CASE("the bound is atol + rtol * |want|") {
    CHECK(floats({100.9F}, {100}).within);
    CHECK_FALSE(floats({101.1F}, {100}).within);
    CHECK(floats({0.0009F}, {0}).within);
    CHECK_FALSE(floats({0.0011F}, {0}).within);
}

TEST_CASE("the largest differences are told") {
    const auto off = floats({2, 11}, {1, 10});
    CHECK(off.max_abs == doctest::Approx(1));
    CHECK(off.max_rel == doctest::Approx(1));
    CHECK_FALSE(off.within);
    CHECK(off.top1);
}

TEST_CASE("what is not finite must be the same") {
    CHECK(floats({kNan, kInf, -kInf}, {kNan, kInf, -kInf}).within);
    CHECK_FALSE(floats({kNan}, {1}).within);
    CHECK_FALSE(floats({1}, {kNan}).within);
    CHECK_FALSE(floats({kInf}, {-kInf}).within);
    CHECK_FALSE(floats({1}, {kInf}).within);
    CHECK_FALSE(floats({kInf}, {1}).within);
}

TEST_CASE("top1 looks at every row of the last axis") {
    const auto want = tensor<float>(DType::kF32, {2, 2}, {1, 2, 4, 3});
    CHECK(compare(tensor<float>(DType::kF32, {2, 2}, {0, 9, 9, 0}), want, {0, 0}).top1);
    CHECK_FALSE(compare(tensor<float>(DType::kF32, {2, 2}, {0, 9, 0, 9}), want, {0, 0}).top1);
}

TEST_CASE("whole numbers must be equal, however large, unless atol allows some steps") {
    const auto one = [](std::int64_t value) {
        return tensor<std::int64_t>(DType::kI64, {1}, {value});
    };
    const std::int64_t large = (std::int64_t{1} << 53) + 1;
    CHECK(compare(one(7), one(7), {0, 0}).within);
    CHECK_FALSE(compare(one(2000), one(2001), {0.001, 0.00001}).within);
    CHECK(compare(one(7), one(9), {0, 2}).within);
    CHECK_FALSE(compare(one(7), one(10), {0, 2}).within);
    CHECK(compare(one(large), one(large), {0, 0}).within);
    CHECK_FALSE(compare(one(large), one(large - 1), {0, 0}).within);
}

TEST_CASE("truth has no tolerance") {
    const auto one = [](std::uint8_t value) {
        return tensor<std::uint8_t>(DType::kBool, {1}, {value});
    };
    CHECK(compare(one(1), one(1), {0, 0}).within);
    CHECK_FALSE(compare(one(1), one(0), {1, 1}).within);
}

TEST_CASE("another shape or dtype is never within") {
    const auto want = tensor<float>(DType::kF32, {1, 2}, {1, 2});
    CHECK_FALSE(compare(tensor<float>(DType::kF32, {2, 1}, {1, 2}), want, {1, 1}).within);
    CHECK_FALSE(compare(tensor<std::int32_t>(DType::kI32, {1, 2}, {1, 2}), want, {1, 1}).within);
}

}  // namespace
}  // namespace inferd
