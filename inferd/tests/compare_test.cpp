#include "compare.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>

using inferd::compare;
using inferd::DType;
using inferd::Tensor;

namespace {

template <typename T>
Tensor tensor(DType type, const std::vector<T>& values) {
    Tensor result{"t", type, {1, static_cast<std::int64_t>(values.size())}, {}};
    result.data.resize(values.size() * sizeof(T));
    std::memcpy(result.data.data(), values.data(), result.data.size());
    return result;
}

Tensor floats(const std::vector<float>& values) { return tensor(DType::kF32, values); }

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("differences are measured and judged") {
    const auto off = compare(floats({1.0F, 2.5F}), floats({1.0F, 2.0F}), {0.0, 0.4});
    CHECK(off.max_abs == doctest::Approx(0.5));
    CHECK(off.max_rel == doctest::Approx(0.25));
    CHECK(!off.within);
    CHECK(off.top1);
    CHECK(compare(floats({2.5F}), floats({2.0F}), {0.0, 0.5}).within);
    CHECK(compare(floats({2.5F}), floats({2.0F}), {0.25, 0.0}).within);
}

TEST_CASE("the largest element must stay where it is") {
    CHECK(!compare(floats({3.0F, 2.0F}), floats({2.0F, 3.0F}), {9.0, 9.0}).top1);
}

TEST_CASE("not a number equals itself only, infinities must be equal") {
    CHECK(compare(floats({kNan}), floats({kNan}), {0, 0}).within);
    CHECK(!compare(floats({kNan}), floats({1.0F}), {9, 9}).within);
    CHECK(compare(floats({kInf}), floats({kInf}), {0, 0}).within);
    CHECK(!compare(floats({-kInf}), floats({kInf}), {9, 9}).within);
    CHECK(!compare(floats({1.0F}), floats({kInf}), {9, 9}).within);
}

TEST_CASE("integers must be equal") {
    const auto one = tensor<std::int32_t>(DType::kI32, {7});
    CHECK(compare(one, one, {0, 0}).within);
    CHECK(!compare(tensor<std::int32_t>(DType::kI32, {8}), one, {9, 9}).within);
}

TEST_CASE("another dtype or shape is not within") {
    CHECK(!compare(floats({1.0F, 1.0F}), floats({1.0F}), {9, 9}).within);
    CHECK(!compare(tensor<std::int32_t>(DType::kI32, {1}), floats({1.0F}), {9, 9}).within);
}
