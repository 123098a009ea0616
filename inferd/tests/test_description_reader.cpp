#include <doctest/doctest.h>

#include "description_reader.hpp"
#include "fixtures.hpp"

namespace inferd {
namespace {

Json good() {
    auto json = parse_json(read_text(fixtures() / "good-labels" / "bundle.json"));
    REQUIRE(json);
    return *json;
}

// What is said of a description after one value of it was changed.
std::string after(const std::string& pointer, const Json& value) {
    auto json = good();
    json[Json::json_pointer(pointer)] = value;
    const auto description = read_description(json);
    return description ? "good" : description.error().code + ": " + description.error().message;
}

TEST_CASE("what a device needs is taken") {
    const auto description = read_description(good());
    REQUIRE(description);
    CHECK(description->name == "fixture");
    CHECK(description->model_file == "model.onnx");
    CHECK(description->model_format == "onnx");
    CHECK(description->inputs[0].shape == std::vector<std::int64_t>{-1, 3});
    CHECK(description->checks[0].samples == 2);
    CHECK(description->checks[0].top1);
    CHECK(description->files.size() == 3);
    CHECK(description->drift_file.empty());
}

TEST_CASE("each value has its bounds, and its own words when it breaks them") {
    CHECK(after("/rollback_version", std::uint64_t{1} << 53) == "good");
    CHECK(after("/rollback_version", (std::uint64_t{1} << 53) + 1) ==
          "schema: rollback_version: must be a whole number from 0 to 9007199254740992");
    CHECK(after("/format", 2) == "unknown-format: format is 2, known is 1");
    CHECK(after("/name", "a_b") == "schema: name: is no name");
    CHECK(after("/name", std::string(64, 'a')) == "schema: name: is no name");
    CHECK(after("/version", "1 2") == "schema: version: is no version");
    CHECK(after("/version", 1) == "schema: version: must be text");
    CHECK(after("/task", "magic") == "schema: task: is none of the allowed values");
    CHECK(after("/inputs/0/dtype", "float8") == "schema: inputs.dtype: is no dtype");
    CHECK(after("/inputs/0/shape", Json{0x7fffffffU, 3U}) == "good");
    for (const auto size : {std::uint64_t{0x80000000U}, ~std::uint64_t{0}, ~std::uint64_t{0} - 1}) {
        CHECK(after("/inputs/0/shape", Json{size, 3U}) == "schema: inputs.shape: is not allowed");
    }
    CHECK(after("/inputs/0/name", "") == "schema: inputs: needs a name");
    CHECK(after("/checks/0/samples", 0U) == "schema: checks.samples: must be at least 1");
    CHECK(after("/checks/0/rtol", -1) ==
          "schema: checks.rtol: must be a number that is not negative");
    CHECK(after("/checks/0/top1", 1) == "schema: checks.top1: must be true or false");
    CHECK(after("/files/model.onnx/sha256", std::string(64, 'A')) ==
          "schema: files.sha256: is no SHA-256");
    CHECK(after("/labels", "other.txt") == "unlisted-file: other.txt is not in files");
    CHECK(after("/drift", Json{{"file", "../x"}}) == "bad-path: ../x");
    CHECK(after("/drift", Json{{"path", "x"}}) == "schema: drift: has no file");
    CHECK(after("/surprise", 1) == "schema: bundle.json: has unknown keys");
}

TEST_CASE("a language model has no tensors, and values of its own") {
    const auto json = parse_json(read_text(fixtures() / "good-language-model" / "bundle.json"));
    REQUIRE(json);
    const auto description = read_description(*json);
    REQUIRE(description);
    CHECK(description->model_format == "gguf");
    CHECK(description->inputs.empty());
    CHECK(description->checks.empty());
    const auto after_in_text = [&](const std::string& pointer, const Json& value) {
        auto changed = *json;
        changed[Json::json_pointer(pointer)] = value;
        const auto found = read_description(changed);
        return found ? "good" : found.error().message;
    };
    CHECK(after_in_text("/text/context", 2147483647U) == "good");
    CHECK(after_in_text("/text/context", 2147483648U) ==
          "text: must be a whole number from 0 to 2147483647");
    CHECK(after_in_text("/text/vocabulary", 0U) == "text: must be above 0");
    CHECK(after_in_text("/text/tokenizer", "") == "text: must not be empty");
    CHECK(after_in_text("/text/magic", 1U) == "text: has unknown keys");
    CHECK(after_in_text("/model/format", "onnx") == "model.format: is none of the allowed values");
    CHECK(after_in_text("/outputs", Json::array({1})) == "outputs: must be an empty list");
    CHECK(after_in_text("/checks/0/kind", "tensors") ==
          "checks.kind: is none of the allowed values");
    CHECK(after_in_text("/checks/0/agreement", 0) == "checks: must be above 0");
}

TEST_CASE("names of files") {
    for (const auto* name : {"a", "model.onnx", "A-b_c.1", "-"}) CHECK(is_file_name(name));
    for (const auto* name : {"", ".", "..", ".a", "a/b", "a b", "\xc3\xa9", "a\n"}) {
        CAPTURE(name);
        CHECK_FALSE(is_file_name(name));
    }
    CHECK(is_file_name(std::string(128, 'a')));
    CHECK_FALSE(is_file_name(std::string(129, 'a')));
}

}  // namespace
}  // namespace inferd
