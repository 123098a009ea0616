#include <doctest/doctest.h>

#include "json.hpp"

namespace inferd {
namespace {

std::string problem(const std::string& text, int depth = 32) {
    const auto value = parse_json(text, depth);
    return value ? "" : value.error().code + ": " + value.error().message;
}

TEST_CASE("JSON that is refused") {
    CHECK(problem("") == "not-json: not JSON at byte 1");
    CHECK(problem("{]") == "not-json: not JSON at byte 2");
    CHECK(problem("{} x") == "not-json: not JSON at byte 4");
    CHECK(problem("NaN") == "not-json: not JSON at byte 1");
    CHECK(problem("1e999") == "not-json: not JSON at byte 5");
    CHECK(problem("\"\xe9\"") == "not-json: not JSON at byte 3");
    CHECK(problem("{\"a\": 1, \"a\": 2}") == "not-json: the key \"a\" is doubled");
    CHECK(problem("[{\"a\": {\"b\": 1, \"b\": 2}}]") == "not-json: the key \"b\" is doubled");
}

TEST_CASE("nesting is limited exactly") {
    CHECK(problem("[[[]]]", 3).empty());
    CHECK(problem("[[{}]]", 3).empty());
    CHECK(problem("[[[]]]", 2) == "not-json: nested deeper than 2 levels");
    CHECK(problem(std::string(1000000, '[')) == "not-json: nested deeper than 32 levels");
}

TEST_CASE("the same key in two objects is not doubled") {
    CHECK(problem("[{\"a\": 1}, {\"a\": 2}]").empty());
}

TEST_CASE("text that is not UTF-8 can still be printed") {
    CHECK(dump(Json("a\xff")) == "\"a\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace inferd
