#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include "numbers.hpp"

namespace inferd {
namespace {

using Kind = Values::Kind;

// How many numbers were taken, and what is left of the text.
struct Taken {
    std::size_t count;
    std::string rest;
};

Taken take(const std::string& text) {
    Values values;
    const auto size = take_numbers(text, values, 1000);
    return {values.items.size(), text.substr(size)};
}

Values::Value one(const std::string& number) {
    Values values;
    CAPTURE(number);
    REQUIRE(take_numbers(number + "]", values, 1000) == number.size());
    REQUIRE(values.items.size() == 1);
    return values.items[0];
}

TEST_CASE("numbers are taken up to the bracket, and up to what is none") {
    const auto check = [](const std::string& text, std::size_t count, const std::string& rest) {
        CAPTURE(text);
        const auto taken = take(text);
        CHECK(taken.count == count);
        CHECK(taken.rest == rest);
    };
    check("1, 2.5,-3 ], 4]", 3, "], 4]");
    check("]", 0, "]");
    check("", 0, "");
    check("1, true, 2]", 1, " true, 2]");
    check("[1, 2]]", 0, "[1, 2]]");
    check("1, \"a\"]", 1, " \"a\"]");
}

TEST_CASE("no more numbers are taken than there may be") {
    Values values;
    CHECK(take_numbers("1, 2, 3]", values, 2) == 5);
    CHECK(take_numbers("1, 2]", values, 2) == 4);
    CHECK(take_numbers("1, 2, ]", values, 2) == 3);
    CHECK(take_numbers("1]", values, 0) == 0);
    CHECK(values.items.size() == 5);
}

TEST_CASE("what is wrong is left, with the number before it if that is part of it") {
    const auto check = [](const std::string& text, const std::string& rest) {
        CAPTURE(text);
        CHECK(take(text).rest == rest);
    };
    check("1, 2,]", "2,]");
    check("1, 2 , ]", "2 , ]");
    check("1 2]", "1 2]");
    check("1, 2", " 2");
    check("1,,2]", ",2]");
    for (const std::string number :
         {"01", "-", "+1", ".5", "1.", "1.e3", "1e", "1e+", "--1", "0x1", "1e99999", "1e400",
          "-1e400", "1234567890123456789", "NaN", "Infinity"}) {
        CAPTURE(number);
        CHECK(take(number + "]").rest == number + "]");
    }
    const std::string longer = "0." + std::string(80, '1') + "]";
    CHECK(take(longer).rest == longer);
}

TEST_CASE("whole numbers keep all their digits") {
    CHECK(one("0").kind == Kind::kUnsigned);
    CHECK(one("999999999999999999").integer == 999999999999999999U);
    CHECK(one("-0").kind == Kind::kNegative);
    CHECK(one("-999999999999999999").negative == -999999999999999999);
    CHECK(one("5e0").kind == Kind::kReal);
}

TEST_CASE("every number with a point is the double that strtod makes of it") {
    std::srand(1);
    const auto check = [](const std::string& number) {
        const auto value = one(number);
        CAPTURE(number);
        CHECK(value.kind == Kind::kReal);
        const double expected = std::strtod(number.c_str(), nullptr);
        CHECK(value.real == expected);
        CHECK(std::signbit(value.real) == std::signbit(expected));
    };
    for (const auto* number :
         {"-0.0", "0.1", "123456789012345e22", "999999999999999e-22", "0.000000000000001e-7",
          "1E+22", "1e23", "1.7976931348623157e308", "5e-324", "1e-400", "0.5488135039273248",
          "9007199254740993.0", "2.2250738585072011e-308"}) {
        check(number);
    }
    for (int i = 0; i < 20000; ++i) {
        std::string number = std::rand() % 2 == 0 ? "-" : "";
        number += std::to_string(std::rand() % 100000) + ".";
        for (int digits = std::rand() % 18; digits >= 0; --digits) {
            number += static_cast<char>('0' + std::rand() % 10);
        }
        if (std::rand() % 3 == 0) number += "e" + std::to_string(std::rand() % 60 - 30);
        check(number);
    }
}

}  // namespace
}  // namespace inferd
