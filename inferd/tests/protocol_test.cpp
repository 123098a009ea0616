#include "protocol.hpp"

#include <doctest/doctest.h>

#include <cstring>

using inferd::Description;
using inferd::DType;
using inferd::parse_infer;

namespace {

Description description(DType dtype = DType::kF32) {
    Description result;
    result.name = "m";
    result.version = "1";
    result.inputs = {{"x", dtype, {-1, 2}}};
    result.outputs = {{"y", dtype, {-1, 2}}};
    return result;
}

std::string request(const std::string& datatype, const std::string& shape,
                    const std::string& data) {
    return R"({"id": "7", "inputs": [{"name": "x", "datatype": ")" + datatype + R"(", "shape": )" +
           shape + R"(, "data": )" + data + "}]}";
}

}  // namespace

TEST_CASE("flat and nested data give the same tensor") {
    const auto flat = parse_infer(request("FP32", "[2, 2]", "[1, 2, 3, 4.5]"), description());
    const auto nested = parse_infer(request("FP32", "[2, 2]", "[[1, 2], [3, 4.5]]"), description());
    REQUIRE(flat);
    REQUIRE(nested);
    CHECK(flat->id == "7");
    CHECK(flat->inputs[0].data == nested->inputs[0].data);
    float last = 0;
    std::memcpy(&last, flat->inputs[0].data.data() + 12, 4);
    CHECK(last == 4.5F);
}

TEST_CASE("an answer names model, version, id and the outputs asked for") {
    auto parsed = parse_infer(request("INT32", "[1, 2]", "[1, -2]"), description(DType::kI32));
    REQUIRE(parsed);
    auto output = parsed->inputs[0];
    output.name = "y";
    const auto answer = inferd::infer_answer(description(), *parsed, {output});
    CHECK(inferd::dump(answer) ==
          R"({"id":"7","model_name":"m","model_version":"1","outputs":[{"data":[1,-2],)"
          R"("datatype":"INT32","name":"y","shape":[1,2]}]})");
    parsed->outputs = {"z"};
    CHECK(inferd::infer_answer(description(), *parsed, {output})["outputs"].empty());
}

TEST_CASE("wrong requests say what is wrong") {
    const std::pair<std::string, std::string> cases[] = {
        {"", "the request is not JSON at byte 1"},
        {"[]", "the request must be an object"},
        {"{}", "inputs must be a list"},
        {R"({"inputs": []})", "the model has 1 inputs, the request 0"},
        {R"({"inputs": [{"name": "z"}]})", "there is no input x"},
        {R"({"id": 1, "inputs": []})", "id must be text"},
        {request("FP64", "[1, 2]", "[1, 2]"), "x: datatype must be FP32"},
        {request("FP32", "[1, 3]", "[1, 2, 3]"), "x: shape [1,3] does not fit [-1,2]"},
        {request("FP32", "[0, 2]", "[]"), "x: shape [0,2] does not fit [-1,2]"},
        {request("FP32", "[2147483647, 2]", "[]"), "x: shape [2147483647,2] does not fit [-1,2]"},
        {request("FP32", "[-1, 2]", "[]"), "x: shape must be a list of sizes"},
        {request("FP32", "[1, 2]", "[1]"), "x: data has 1 values, shape needs 2"},
        {request("FP32", "[1, 2]", "[1, 2, 3]"),
         "x: data has a value that is no FP32, or too many values"},
        {request("FP32", "[1, 2]", R"([1, "2"])"),
         "x: data has a value that is no FP32, or too many values"},
        {request("FP32", "[1, 2]", "[1, 1e39]"),
         "x: data has a value that is no FP32, or too many values"},
        {request("FP32", "[1, 2]", "1"), "x: data must be a list"},
    };
    for (const auto& [text, message] : cases) {
        const auto parsed = parse_infer(text, description());
        CAPTURE(text);
        REQUIRE(!parsed);
        CHECK(parsed.error().message == message);
    }
}

TEST_CASE("integers must fit their type") {
    const auto fits = [](const char* data) {
        return static_cast<bool>(
            parse_infer(request("INT8", "[1, 2]", data), description(DType::kI8)));
    };
    CHECK(fits("[-128, 127]"));
    CHECK(!fits("[-129, 0]"));
    CHECK(!fits("[128, 0]"));
    CHECK(!fits("[1.5, 0]"));
    CHECK(!fits("[18446744073709551615, 0]"));
}
