#include <doctest/doctest.h>

#include <limits>

#include "fixtures.hpp"
#include "protocol.hpp"

namespace inferd {
namespace {

Description describe(DType type = DType::kF32) {
    Description description{};
    description.name = "m";
    description.version = "1";
    description.inputs = {{"x", type, {-1, 2}}};
    description.outputs = {{"y", type, {-1, 1}}, {"z", type, {-1, 1}}};
    return description;
}

std::string request(const std::string& datatype, const std::string& shape, const std::string& data,
                    const std::string& rest = "") {
    return "{\"inputs\": [{\"name\": \"x\", \"datatype\": \"" + datatype +
           "\", \"shape\": " + shape + ", \"data\": " + data + "}]" + rest + "}";
}

std::string problem(const std::string& body, DType type = DType::kF32) {
    const auto parsed = parse_infer(body, describe(type));
    return parsed ? "" : parsed.error().message;
}

TEST_CASE("flat and nested data are the same") {
    const auto flat = parse_infer(request("FP32", "[2, 2]", "[1, 2, 3, 4.5]"), describe());
    const auto nested = parse_infer(request("FP32", "[2, 2]", "[[1, 2], [3, 4.5]]"), describe());
    REQUIRE(flat);
    REQUIRE(nested);
    CHECK(flat->inputs[0].data == nested->inputs[0].data);
    CHECK(element(DType::kF32, flat->inputs[0].data.data(), 3) == 4.5);
}

TEST_CASE("a large request has no more values than 64 rows need") {
    Description description = describe();
    description.inputs[0].shape = {-1, 20000};
    const auto problem_with = [&](std::size_t rows, const std::string& each) {
        std::string data = "[";
        for (std::size_t i = 0; i < rows * 20000; ++i) data += each;
        data.back() = ']';
        const auto parsed = parse_infer(
            request("FP32", "[" + std::to_string(rows) + ", 20000]", data), description);
        return parsed ? "" : parsed.error().message;
    };
    const std::string too_many = "the request is too long: it has more values than there may be";
    CHECK(problem_with(64, "1,").empty());
    CHECK(problem_with(65, "1,") == too_many);
    CHECK(problem_with(65, "\"\",") == too_many);
    CHECK(problem_with(65, "{},") == too_many);
}

TEST_CASE("the ends of every integer type") {
    struct Case {
        DType type;
        const char* least;
        const char* most;
        const char* below;
        const char* above;
    };
    for (const auto& [type, least, most, below, above] : std::initializer_list<Case>{
             {DType::kU8, "0", "255", "-1", "256"},
             {DType::kI8, "-128", "127", "-129", "128"},
             {DType::kU16, "0", "65535", "-1", "65536"},
             {DType::kI16, "-32768", "32767", "-32769", "32768"},
             {DType::kU32, "0", "4294967295", "-1", "4294967296"},
             {DType::kI32, "-2147483648", "2147483647", "-2147483649", "2147483648"},
             {DType::kU64, "0", "18446744073709551615", "-1", "18446744073709551616"},
             {DType::kI64, "-9223372036854775808", "9223372036854775807", "-9223372036854775809",
              "9223372036854775808"}}) {
        const std::string name(info(type).protocol);
        const auto data = [](const std::string& a, const std::string& b) {
            return "[" + a + ", " + b + "]";
        };
        CAPTURE(name);
        CHECK(problem(request(name, "[1, 2]", data(least, most)), type).empty());
        const auto wrong = "x: data has a value that is no " + name + ", or too many values";
        CHECK(problem(request(name, "[1, 2]", data(below, "0")), type) == wrong);
        CHECK(problem(request(name, "[1, 2]", data(above, "0")), type) == wrong);
        CHECK(problem(request(name, "[1, 2]", "[1.5, 0]"), type) == wrong);
        CHECK(problem(request(name, "[1, 2]", "[true, 0]"), type) == wrong);
    }
}

TEST_CASE("64-bit integers keep every bit on the way through") {
    const auto body = request("INT64", "[1, 2]", "[9007199254740993, -9223372036854775808]");
    const auto parsed = parse_infer(body, describe(DType::kI64));
    REQUIRE(parsed);
    auto output = parsed->inputs[0];
    output.name = "y";
    const auto answer = *parse_json(infer_answer(describe(DType::kI64), *parsed, {output})->body);
    CHECK(dump(answer["outputs"][0]["data"]) == "[9007199254740993,-9223372036854775808]");
}

TEST_CASE("booleans and floats") {
    CHECK(problem(request("BOOL", "[1, 2]", "[true, false]"), DType::kBool).empty());
    CHECK(problem(request("BOOL", "[1, 2]", "[1, 0]"), DType::kBool) ==
          "x: data has a value that is no BOOL, or too many values");
    CHECK(problem(request("FP16", "[1, 2]", "[1, 0.5]"), DType::kF16).empty());
    CHECK(problem(request("FP64", "[1, 2]", "[1e300, -1e300]"), DType::kF64).empty());
    CHECK(problem(request("FP32", "[1, 2]", "[1e300, 0]")) ==
          "x: data has a value that is no FP32, or too many values");
}

TEST_CASE("requests that are refused") {
    CHECK(problem("") == "the request is not JSON at byte 1");
    CHECK(problem("[]") == "the request must be an object");
    CHECK(problem("{}") == "inputs must be a list");
    CHECK(problem("{\"inputs\": {}}") == "inputs must be a list");
    CHECK(problem("{\"inputs\": []}") == "the model has 1 inputs, the request 0");
    CHECK(problem("{\"inputs\": [1]}") == "there is no input x");
    CHECK(problem("{\"inputs\": [{\"name\": \"q\"}]}") == "there is no input x");
    CHECK(problem("{\"inputs\": [{\"name\": \"x\"}]}") == "x: datatype must be FP32");
    CHECK(problem(request("INT32", "[1, 2]", "[1, 2]")) == "x: datatype must be FP32");
    CHECK(problem(request("FP32", "[2]", "[1, 2]")) == "x: shape [2] does not fit [-1,2]");
    CHECK(problem(request("FP32", "[0, 2]", "[]")) == "x: shape [0,2] does not fit [-1,2]");
    CHECK(problem(request("FP32", "[2147483647, 2]", "[]")) ==
          "x: shape [2147483647,2] does not fit [-1,2]");
    CHECK(problem(request("FP32", "[-1, 2]", "[]")) == "x: shape must be a list of sizes");
    CHECK(problem(request("FP32", "3", "[]")) == "x: shape must be a list of sizes");
    CHECK(problem(request("FP32", "[1, 2]", "1")) == "x: data must be a list");
    CHECK(problem(request("FP32", "[1, 2]", "[1]")) == "x: data has 1 values, shape needs 2");
    CHECK(problem(request("FP32", "[1, 2]", "[1, 2, 3]")) ==
          "x: data has a value that is no FP32, or too many values");
    CHECK(problem(request("FP32", "[1, 2]", "[1, null]")) ==
          "x: data has a value that is no FP32, or too many values");
    CHECK(problem(request("FP32", "[1, 2]", "[1, 2]", ", \"id\": 3")) == "id must be text");
    CHECK(problem(request("FP32", "[1, 2]", "[1, 2]", ", \"outputs\": 3")) ==
          "outputs must be a list");
    CHECK(problem(request("FP32", "[1, 2]", "[1, 2]", ", \"outputs\": [{\"name\": \"q\"}]")) ==
          "outputs: there is no output \"q\"");
}

TEST_CASE("optional members that are null are as if they were not there") {
    CHECK(problem(R"({"id": null, "parameters": null, "outputs": null, "inputs": [{"name": "x",)"
                  R"( "datatype": "FP32", "shape": [1, 2], "parameters": null, "data": [1, 2]}]})")
              .empty());
    const auto rest =
        R"(, "parameters": {"binary_data_output": true, "timeout": null, "sequence_id": null},)"
        R"( "outputs": [{"name": "y", "parameters": null},)"
        R"( {"name": "z", "parameters": {"binary_data": null, "classification": null}}])";
    const auto parsed = parse_infer(request("FP32", "[1, 2]", "[1, 2]", rest), describe());
    REQUIRE(parsed);
    CHECK_FALSE(parsed->timeout);
    CHECK(parsed->outputs == std::map<std::string, bool>{{"y", true}, {"z", true}});
    const std::string json =
        R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":null,"parameters":)"
        R"({"binary_data_size":8,"shared_memory_region":null}}]})";
    CHECK(parse_infer(json + std::string(8, 0), describe(), json.size()));
    const auto sizeless =
        request("FP32", "[1, 2]", R"([1, 2], "parameters": {"binary_data_size": null})");
    CHECK(problem(sizeless).empty());
    // What a request cannot be without is not there either.
    CHECK(problem("{\"inputs\": null}") == "inputs must be a list");
    CHECK(problem(request("FP32", "null", "[1, 2]")) == "x: shape is missing");
    CHECK(problem(request("FP32", "[1, 2]", "null")) == "x: data must be a list");
    CHECK(problem(request("FP32", "[1, 2]", "[1, 2]", R"(, "id": null, "id": null)")) ==
          "the request is the key \"id\" is doubled");
}

TEST_CASE("the answer has the id and only the outputs that were asked for") {
    const auto body =
        request("FP32", "[1, 2]", "[1, 2]", ", \"id\": \"7\", \"outputs\": [{\"name\": \"z\"}]");
    const auto parsed = parse_infer(body, describe());
    REQUIRE(parsed);
    auto y = tensor<float>(DType::kF32, {1, 1}, {1});
    y.name = "y";
    auto z = tensor<float>(DType::kF32, {1, 1}, {2.5});
    z.name = "z";
    CHECK(infer_answer(describe(), *parsed, {y, z})->body ==
          R"({"id":"7","model_name":"m","model_version":"1","outputs":)"
          R"([{"data":[2.5],"datatype":"FP32","name":"z","shape":[1,1]}]})");
}

TEST_CASE("values that JSON cannot have are answered as bytes only") {
    const auto ask = [](const std::string& rest) {
        return *parse_infer(request("FP32", "[1, 2]", "[1, 2]", rest), describe());
    };
    auto y = tensor<float>(DType::kF32, {1, 1}, {1});
    y.name = "y";
    auto z = tensor<float>(DType::kF32, {1, 1}, {std::numeric_limits<float>::infinity()});
    z.name = "z";
    for (const auto* rest : {"", R"(, "outputs": [{"name": "z"}])"}) {
        CAPTURE(rest);
        const auto answer = infer_answer(describe(), ask(rest), {y, z});
        REQUIRE_FALSE(answer);
        CHECK(answer.error().message ==
              "output z has values that JSON cannot have; ask for it with binary_data");
    }
    for (const auto* rest :
         {R"(, "outputs": [{"name": "y"}])", R"(, "parameters": {"binary_data_output": true})",
          R"(, "outputs": [{"name": "y"},)"
          R"( {"name": "z", "parameters": {"binary_data": true}}])"}) {
        CAPTURE(rest);
        CHECK(infer_answer(describe(), ask(rest), {y, z}));
    }
}

TEST_CASE("the limit of a request grows with the model and ends") {
    auto description = describe();
    const auto small = request_limit(description);
    description.inputs[0].shape = {-1, 2048};
    CHECK(request_limit(description) > small);
    description.inputs[0].shape = {0x7fffffff, 0x7fffffff, 0x7fffffff};
    CHECK(request_limit(description) == 64 << 20);
    description.inputs.assign(64, description.inputs[0]);
    CHECK(request_limit(description) == 64 << 20);
}

TEST_CASE("text is split exactly") {
    std::vector<std::byte> data;
    append_text(data, "ab");
    append_text(data, "");
    REQUIRE(split_text(data));
    CHECK(*split_text(data) == std::vector<std::string_view>{"ab", ""});
    for (std::size_t size = 1; size < data.size(); ++size) {
        CAPTURE(size);
        const bool whole = size == 6;
        CHECK(static_cast<bool>(split_text(std::span(data).first(size))) == whole);
    }
}

TEST_CASE("bytes behind the JSON") {
    const std::string json =
        R"({"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"parameters":)"
        R"({"binary_data_size":8}}],"parameters":{"binary_data_output":true,"timeout":7}})";
    const std::vector<float> numbers = {1.5F, -2.0F};
    const std::string bytes(reinterpret_cast<const char*>(numbers.data()), 8);
    const auto parsed = parse_infer(json + bytes, describe(), json.size());
    REQUIRE(parsed);
    CHECK(element(DType::kF32, parsed->inputs[0].data.data(), 1) == -2.0);
    CHECK(parsed->timeout == std::chrono::microseconds(7));
    auto y = tensor<float>(DType::kF32, {1, 2}, numbers);
    y.name = "y";
    const auto answer = infer_answer(describe(), *parsed, {y});
    REQUIRE(answer);
    REQUIRE(answer->json_size);
    CHECK(answer->body.substr(*answer->json_size) == bytes);
    CHECK(answer->body.find(R"("parameters":{"binary_data_size":8})") < *answer->json_size);
    CHECK_FALSE(parse_infer(json + bytes, describe(), json.size() - 1));
    CHECK_FALSE(parse_infer(json + bytes + "x", describe(), json.size()));
    CHECK_FALSE(parse_infer(json, describe(), json.size() + 1));
}

}  // namespace
}  // namespace inferd
