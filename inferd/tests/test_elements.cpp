#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "elements.hpp"
#include "fixtures.hpp"

namespace inferd {
namespace {

Values list(const std::string& text) {
    auto document = parse_document(R"({"inputs": [{"data": )" + text + "}]}", 8);
    REQUIRE(document);
    REQUIRE(document->lists.size() == 1);
    return document->lists[0];
}

std::string back_and_forth(DType type, const std::string& text) {
    Tensor tensor{"t", type, {}, {}};
    if (!append_values(type, tensor.data, list(text), 1000)) return "refused";
    return dump(values(tensor));
}

TEST_CASE("what a type can hold comes back as it was, flat") {
    CHECK(back_and_forth(DType::kU8, "[[0, 255], [7]]") == "[0,255,7]");
    CHECK(back_and_forth(DType::kI64, "[-9223372036854775808, 9223372036854775807]") ==
          "[-9223372036854775808,9223372036854775807]");
    CHECK(back_and_forth(DType::kU64, "[18446744073709551615]") == "[18446744073709551615]");
    CHECK(back_and_forth(DType::kBool, "[true, false]") == "[true,false]");
    CHECK(back_and_forth(DType::kF16, "[0.5, 65504]") == "[0.5,65504.0]");
    CHECK(back_and_forth(DType::kText, R"(["a", "", "é"])") == R"(["a","","é"])");
}

TEST_CASE("what a type cannot hold is refused") {
    CHECK(back_and_forth(DType::kU8, "[256]") == "refused");
    CHECK(back_and_forth(DType::kU8, "[-1]") == "refused");
    CHECK(back_and_forth(DType::kI8, "[-129]") == "refused");
    CHECK(back_and_forth(DType::kU64, "[-1]") == "refused");
    CHECK(back_and_forth(DType::kI32, "[1.0]") == "refused");
    CHECK(back_and_forth(DType::kF32, "[3.5e38]") == "refused");
    CHECK(back_and_forth(DType::kF16, "[65520]") == "refused");
    CHECK(back_and_forth(DType::kBool, "[1]") == "refused");
    CHECK(back_and_forth(DType::kText, "[1]") == "refused");
    CHECK(back_and_forth(DType::kF64, R"(["1"])") == "refused");
    CHECK(back_and_forth(DType::kF64, "[null]") == "refused");
    CHECK(back_and_forth(DType::kF64, R"([1, {"a": [2]}])") == "refused");
}

TEST_CASE("what JSON has, and what it does not") {
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK(json_has(tensor<float>(DType::kF32, {3}, {0, -3.4e38F, 1e-45F})));
    CHECK_FALSE(json_has(tensor<float>(DType::kF32, {2}, {0, infinity})));
    CHECK_FALSE(json_has(tensor<float>(DType::kF32, {2}, {-infinity, 0})));
    CHECK_FALSE(json_has(tensor<float>(DType::kF32, {1}, {std::nanf("")})));
    CHECK(json_has(tensor<double>(DType::kF64, {2}, {1.7e308, -1e39})));
    CHECK_FALSE(json_has(tensor<double>(DType::kF64, {1}, {-HUGE_VAL})));
    CHECK_FALSE(json_has(tensor<double>(DType::kF64, {1}, {std::nan("")})));
    // The largest, then both infinities, and no number at all.
    CHECK(json_has(tensor<std::uint16_t>(DType::kF16, {2}, {0x7bff, 0xfbff})));
    for (const std::uint16_t half : {0x7c00, 0xfc00, 0x7c01, 0xfe00}) {
        CHECK_FALSE(json_has(tensor<std::uint16_t>(DType::kF16, {1}, {half})));
    }
    // The same bits are whole numbers like others.
    CHECK(json_has(tensor<std::uint16_t>(DType::kU16, {1}, {0x7c00})));
    Tensor text{"t", DType::kText, {2}, {}};
    append_text(text.data, "é");
    CHECK(json_has(text));
    append_text(text.data, "\xe9");
    CHECK_FALSE(json_has(text));
}

TEST_CASE("numbers are written as the library writes them") {
    const auto check = [](const Tensor& tensor) {
        std::string text = "x";
        append_json(text, tensor);
        CHECK(text == "x" + dump(values(tensor)));
    };
    check(tensor<float>(DType::kF32, {0}, {}));
    check(tensor<float>(DType::kF32, {1}, {-0.0F}));
    check(tensor<double>(DType::kF64, {4}, {1e300, -5e-324, 0.1, 123456789012345680.0}));
    check(tensor<std::int64_t>(DType::kI64, {2}, {-1, 9007199254740993}));
    std::vector<float> floats;
    std::vector<std::uint16_t> halves;
    std::uint32_t bits = 1;
    for (int i = 0; i < 5000; ++i) {
        bits = bits * 1664525 + 1013904223;
        float number;
        std::memcpy(&number, &bits, sizeof number);
        if (std::isfinite(number)) floats.push_back(number);
        if ((bits >> 16 & 0x7c00) != 0x7c00) {
            halves.push_back(static_cast<std::uint16_t>(bits >> 16));
        }
    }
    check(tensor<float>(DType::kF32, {static_cast<std::int64_t>(floats.size())}, floats));
    check(tensor<std::uint16_t>(DType::kF16, {static_cast<std::int64_t>(halves.size())}, halves));
}

TEST_CASE("no more is taken than there is room for") {
    std::vector<std::byte> data;
    CHECK(append_values(DType::kF32, data, list("[1, 2]"), 8));
    CHECK_FALSE(append_values(DType::kF32, data, list("[3]"), 8));
    CHECK(data.size() == 8);
    CHECK_FALSE(append_values(DType::kText, data, list(R"(["a"])"), 8));
}

TEST_CASE("bytes hold a number of elements") {
    const std::string text("\1\0\0\0a\0\0\0\0", 9);
    CHECK(holds(DType::kText, as_bytes(text), 2));
    CHECK_FALSE(holds(DType::kText, as_bytes(text), 1));
    CHECK_FALSE(holds(DType::kText, as_bytes(text.substr(1)), 2));
    CHECK(holds(DType::kF32, as_bytes(std::string(12, 'x')), 3));
    CHECK_FALSE(holds(DType::kF32, as_bytes(std::string(11, 'x')), 3));
    CHECK(holds(DType::kF32, {}, 0));
}

}  // namespace
}  // namespace inferd
