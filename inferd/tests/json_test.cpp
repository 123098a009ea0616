#include "json.hpp"

#include <doctest/doctest.h>

using inferd::parse_json;

TEST_CASE("values are parsed") {
    const auto json = parse_json(R"({"a": [1, 2.5, true, null, "é"]})");
    REQUIRE(json);
    CHECK((*json)["a"].size() == 5);
}

TEST_CASE("depth is limited") {
    CHECK(parse_json("[[1]]", 2));
    CHECK(!parse_json("[[[1]]]", 2));
    CHECK(!parse_json(std::string(1000000, '[')));
}

TEST_CASE("doubled keys, junk and invalid UTF-8 are refused") {
    for (const char* text : {R"({"a": 1, "a": 2})", "{", "1 2", "{\"a\": \"\xff\"}", "", "nul"}) {
        const auto json = parse_json(text);
        CAPTURE(text);
        REQUIRE(!json);
        CHECK(json.error().code == "not-json");
    }
}
