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

TEST_CASE("a document's tensor data stand beside it, without their nesting") {
    const auto document = parse_document(
        R"({"inputs": [{"data": [[1, -2], [0.5, true, "a", null]], "x": 1}, {"data": []}]})", 8);
    REQUIRE(document);
    const auto& inputs = document->root["inputs"];
    const auto* first = document->list(inputs[0]);
    REQUIRE(first != nullptr);
    using Kind = Values::Kind;
    const std::vector<Kind> kinds{Kind::kUnsigned, Kind::kNegative, Kind::kReal,
                                  Kind::kBool,     Kind::kText,     Kind::kOther};
    REQUIRE(first->items.size() == kinds.size());
    for (std::size_t i = 0; i < kinds.size(); ++i) CHECK(first->items[i].kind == kinds[i]);
    CHECK(first->items[0].integer == 1);
    CHECK(first->items[1].negative == -2);
    CHECK(first->items[2].real == 0.5);
    CHECK(first->items[3].integer == 1);
    CHECK(first->texts == std::vector<std::string>{"a"});
    CHECK(inputs[0]["x"] == 1);
    REQUIRE(document->list(inputs[1]) != nullptr);
    CHECK(document->list(inputs[1])->items.empty());
}

TEST_CASE("only arrays called data in an object in an array are taken out") {
    for (const auto* text :
         {R"({"inputs": [{"data": 5}, [1]]})", R"({"inputs": [{"data": {"data": [1]}}, [[2]]]})",
          R"({"data": [1, 2]})", R"({"inputs": [{"a": [1], "data": "x"}]})", R"([[{"data": [1]}]])",
          R"({"a": {"b": {"data": [1]}}})", "[1, [2]]", "{}", "7"}) {
        CAPTURE(text);
        const auto document = parse_document(text, 8);
        REQUIRE(document);
        CHECK(document->lists.empty());
        CHECK(document->root == *parse_json(text));
    }
}

TEST_CASE("depth and doubled keys count in tensor data too") {
    const auto problem_of = [](const std::string& data) {
        const auto document = parse_document(R"({"inputs": [{"data": )" + data + "}]}", 6);
        return document ? "" : document.error().message;
    };
    CHECK(problem_of("[[[1]]]").empty());
    CHECK(problem_of("[[[[1]]]]") == "nested deeper than 6 levels");
    CHECK(problem_of(R"([{"a": 1, "a": 2}])") == "the key \"a\" is doubled");
    CHECK(problem_of(R"([{"a": [1]}, 3])").empty());
    CHECK(problem_of("[1, 2") == "not JSON at byte 27");
    CHECK(problem_of("[1, 2, ]") == "not JSON at byte 29");
    CHECK(problem_of("[1, 2,, 3]") == "not JSON at byte 28");
    CHECK(problem_of("[[1, 2], [3, 4x]]") == "not JSON at byte 36");
    CHECK(problem_of(R"([1], "data": [2])") == "the key \"data\" is doubled");
}

TEST_CASE("a document has no more values than there may be, in its lists and besides them") {
    const std::string too_many = "too long: it has more values than there may be";
    const auto problem_of = [](const std::string& text) {
        const auto document = parse_document(text, 8, 3);
        return document ? "" : document.error().message;
    };
    const auto data = [](const std::string& values) {
        return R"({"inputs": [{"data": )" + values + "}]}";
    };
    for (const auto* three : {"[1, 2, 3]", "[1, [2], [3]]", R"(["a", true, 0.5])",
                              R"([{"a": [1, 2, 3, 4]}, null, 1e400000])", "[[], [], [], []]"}) {
        CAPTURE(three);
        CHECK(problem_of(data(three)) != too_many);
    }
    for (const auto* four :
         {"[1, 2, 3, 4]", "[1, [2], [3, 4]]", "[1, 2, 3, [4]]", R"(["a", "b", "c", "d"])",
          "[true, null, 0.5, {}]", R"([1], "b": 0}, {"data": [2, 3, 4])"}) {
        CAPTURE(four);
        CHECK(problem_of(data(four)) == too_many);
    }
    for (const auto* others : {"[],", "{},", "0,", "\"\",", "null,"}) {
        CAPTURE(others);
        std::string text;
        for (int i = 0; i < 70000; ++i) text += others;
        CHECK(problem_of("[" + text + "1]") == too_many);
        CHECK(problem_of(data("[{\"a\": [" + text + "1]}]")) == too_many);
        CHECK(parse_json("[" + text + "1]"));
    }
}

TEST_CASE("text that is not UTF-8 can still be printed") {
    CHECK(dump(Json("a\xff")) == "\"a\xef\xbf\xbd\"");
}

TEST_CASE("text is quoted as in a document") {
    for (const std::string text :
         {"", "plain ~!", "a\"b", "a\\b", "a\nb", "\x7f", "\xc3\xa9", "a\xff"}) {
        CAPTURE(text);
        CHECK(quote(text) == dump(Json(text)));
    }
}

TEST_CASE("UTF-8 is what the library takes for it") {
    const auto same = [](const std::string& text) {
        return is_utf8(text) == parse_json('"' + text + '"').operator bool();
    };
    CHECK(is_utf8(""));
    CHECK(is_utf8("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    // Every beginning of two bytes, and what may follow it.
    for (int lead = 0x80; lead < 0x100; ++lead) {
        for (int second = 0x7f; second < 0x101; ++second) {
            std::string text{static_cast<char>(lead)};
            CHECK_FALSE(is_utf8(text));
            if (second < 0x100) text += static_cast<char>(second);
            for (const auto* rest : {"", "\x80", "\xbf\x80", "\xbf\xbf\x80", "a"}) {
                if (!same(text + rest)) FAIL_CHECK(lead << " " << second << " " << rest);
            }
        }
    }
}

}  // namespace
}  // namespace inferd
