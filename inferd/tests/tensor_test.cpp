#include "tensor.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

TEST_CASE("every half survives the way to float and back") {
    for (unsigned bits = 0; bits < 0x10000; ++bits) {
        const auto half = static_cast<std::uint16_t>(bits);
        const float value = inferd::half_to_float(half);
        if (std::isnan(value)) {
            CHECK(std::isnan(inferd::half_to_float(inferd::float_to_half(value))));
        } else {
            REQUIRE(inferd::float_to_half(value) == half);
        }
    }
}

TEST_CASE("floats round to the nearest half") {
    CHECK(inferd::float_to_half(65519.0F) == 0x7bff);
    CHECK(inferd::float_to_half(65520.0F) == 0x7c00);
    CHECK(inferd::float_to_half(1e-9F) == 0);
    CHECK(inferd::float_to_half(std::numeric_limits<float>::infinity()) == 0x7c00);
}

TEST_CASE("counts that do not fit are refused") {
    CHECK(inferd::element_count({2, 3}) == 6);
    CHECK(inferd::element_count({0, 3}) == 0);
    CHECK(!inferd::element_count({-1, 3}));
    CHECK(!inferd::element_count({2147483647, 2147483647, 2147483647}));
}

TEST_CASE("only the first axis may be free") {
    CHECK(inferd::shape_fits({5, 2}, {-1, 2}));
    CHECK(!inferd::shape_fits({0, 2}, {-1, 2}));
    CHECK(!inferd::shape_fits({5, 3}, {-1, 2}));
    CHECK(!inferd::shape_fits({5}, {-1, 2}));
}
