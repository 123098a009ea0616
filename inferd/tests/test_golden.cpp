#include <doctest/doctest.h>

#include "fixtures.hpp"
#include "golden.hpp"

namespace inferd {
namespace {

std::string file(const std::string& header, const std::string& data = "") {
    std::string text(8, '\0');
    const std::uint64_t size = header.size();
    std::memcpy(text.data(), &size, 8);
    return text + header + data;
}

std::string problem(const std::string& bytes) {
    const auto tensors = read_safetensors(as_bytes(bytes));
    return tensors ? "" : tensors.error().message;
}

TEST_CASE("a file with two tensors") {
    const auto bytes = file(
        R"({"__metadata__": {"a": "b"}, "y": {"dtype": "I16", "shape": [2], "data_offsets": [1, 5]},)"
        R"( "x": {"dtype": "BOOL", "shape": [], "data_offsets": [0, 1]}})",
        std::string("\1\2\0\3\0", 5));
    const auto tensors = read_safetensors(as_bytes(bytes));
    REQUIRE(tensors);
    REQUIRE(tensors->size() == 2);
    const auto& y = tensors->at("y");
    CHECK(y.dtype == DType::kI16);
    CHECK(y.shape == std::vector<std::int64_t>{2});
    CHECK(element(y.dtype, y.data.data(), 1) == 3);
}

TEST_CASE("files that are refused") {
    CHECK(problem("1234567") == "shorter than its header");
    CHECK(problem(std::string(8, '\xff')) == "the header has no room");
    CHECK(problem(file("[]")) == "the header is no object");
    CHECK(problem(file("{")) == "the header is not JSON at byte 2");
    CHECK(problem(file("{\"x\": 1}")) == "x has not dtype, shape and data_offsets");
    const auto entry = [](const std::string& dtype, const std::string& shape,
                          const std::string& offsets) {
        return file("{\"x\": {\"dtype\": \"" + dtype + "\", \"shape\": " + shape +
                        ", \"data_offsets\": " + offsets + "}}",
                    "1234");
    };
    CHECK(problem(entry("F32", "[1]", "[0, 4]")).empty());
    CHECK(problem(entry("BF16", "[2]", "[0, 4]")) == "x has an unknown dtype");
    CHECK(problem(entry("F32", "[-1]", "[0, 4]")) == "a shape is no list of sizes");
    CHECK(problem(entry("F32", "[1.0]", "[0, 4]")) == "a shape is no list of sizes");
    CHECK(problem(entry("F32", "[1]", "[4, 0]")) == "x has other bytes than its shape needs");
    CHECK(problem(entry("F32", "[1]", "[0]")) == "data_offsets are not two positions");
    CHECK(problem(entry("F32", "[2]", "[0, 8]")) == "x ends behind the file");
    CHECK(problem(entry("U8", "[3]", "[0, 3]")) == "the data do not end where the file ends");
    CHECK(problem(entry("U8", "[3]", "[1, 4]")) == "tensors overlap or leave a hole");
}

TEST_CASE("samples come in the order of the description") {
    const GoldenSpec spec{{{"x0", DType::kF32, {-1, 3}}, {"x1", DType::kF32, {-1, 3}}},
                          {{"y", DType::kF32, {-1, 2}}},
                          2};
    const auto bytes = read_text(fixtures() / "good-two-inputs/golden.safetensors");
    const auto samples = read_golden(as_bytes(bytes), spec);
    REQUIRE(samples);
    REQUIRE(samples->size() == 2);
    CHECK((*samples)[1].inputs[1].name == "x1");
    CHECK((*samples)[1].inputs[1].shape == std::vector<std::int64_t>{1, 3});
    CHECK(element(DType::kF32, (*samples)[1].inputs[1].data.data(), 2) == 2);
    auto fewer = spec;
    fewer.samples = 1;
    const auto wrong = read_golden(as_bytes(bytes), fewer);
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error().code == "golden-mismatch");
    CHECK(wrong.error().message == "it has 6 tensors, not those of 1 samples");
}

}  // namespace
}  // namespace inferd
