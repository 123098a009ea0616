#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "fixtures.hpp"
#include "tensor.hpp"

namespace inferd {
namespace {

TEST_CASE("types are found by all three of their names") {
    CHECK(dtype_from_bundle("float16") == DType::kF16);
    CHECK(dtype_from_safetensors("U64") == DType::kU64);
    CHECK(dtype_from_protocol("INT8") == DType::kI8);
    CHECK_FALSE(dtype_from_bundle("FP32"));
    CHECK_FALSE(dtype_from_protocol("TEXT"));
    for (int i = 0; i < 12; ++i) {
        const auto type = static_cast<DType>(i);
        CHECK(info(type).type == type);
        CHECK(dtype_from_protocol(info(type).protocol) == type);
    }
}

TEST_CASE("the number of elements never overflows") {
    CHECK(element_count({}) == 1);
    CHECK(element_count({2, 3, 4}) == 24);
    CHECK(element_count({0, 1LL << 40, 1LL << 40}) == 0);
    CHECK_FALSE(element_count({-1, 3}));
    CHECK_FALSE(element_count({0x7fffffff, 0x7fffffff, 0x7fffffff}));
    CHECK_FALSE(element_count({std::numeric_limits<std::int64_t>::max(), 2}));
}

TEST_CASE("only the first axis of a specification may be free") {
    CHECK(shape_fits({5, 3}, {-1, 3}));
    CHECK(shape_fits({1, 3}, {1, 3}));
    CHECK_FALSE(shape_fits({0, 3}, {-1, 3}));
    CHECK_FALSE(shape_fits({-1, 3}, {-1, 3}));
    CHECK_FALSE(shape_fits({2, 3}, {1, 3}));
    CHECK_FALSE(shape_fits({5, 4}, {-1, 3}));
    CHECK_FALSE(shape_fits({5}, {-1, 3}));
}

TEST_CASE("half precision: every number survives the way there and back") {
    for (unsigned half = 0; half < 0x10000; ++half) {
        const auto bits = static_cast<std::uint16_t>(half);
        const float wide = half_to_float(bits);
        if (std::isnan(wide)) {
            CHECK(std::isnan(half_to_float(float_to_half(wide))));
        } else {
            CHECK(float_to_half(wide) == bits);
        }
    }
}

TEST_CASE("half precision rounds to the nearest, ties to even") {
    CHECK(float_to_half(1.0F) == 0x3c00);
    CHECK(float_to_half(1.0F + 1.0F / 2048) == 0x3c00);
    CHECK(float_to_half(1.0F + 3.0F / 2048) == 0x3c02);
    CHECK(float_to_half(65519.0F) == 0x7bff);
    CHECK(float_to_half(65520.0F) == 0x7c00);
    CHECK(float_to_half(1e-10F) == 0);
    CHECK(float_to_half(-0.0F) == 0x8000);
}

TEST_CASE("elements as numbers") {
    CHECK(element(DType::kI8, tensor<std::int8_t>(DType::kI8, {2}, {1, -5}).data.data(), 1) == -5);
    CHECK(element(DType::kU16, tensor<std::uint16_t>(DType::kU16, {1}, {65535}).data.data(), 0) ==
          65535);
    CHECK(element(DType::kF16, tensor<std::uint16_t>(DType::kF16, {1}, {0xc000}).data.data(), 0) ==
          -2);
}

}  // namespace
}  // namespace inferd
