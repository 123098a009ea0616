// JSON from hostile sources: limited in depth, without doubled keys, never throwing.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "result.hpp"

namespace inferd {

using Json = nlohmann::json;

// Parses UTF-8 JSON at most `max_depth` levels deep.
// Fails with the code `not-json` for anything else, doubled keys included.
Result<Json> parse_json(std::string_view text, int max_depth = 32);

// What an array holds, without its nesting: many numbers in few bytes.
struct Values {
    enum class Kind : std::uint8_t { kOther, kBool, kUnsigned, kNegative, kReal, kText };
    struct Value {
        Kind kind;
        union {
            std::uint64_t integer;  // also of kBool, and of kText the position in `texts`
            std::int64_t negative;
            double real;
        };
    };
    std::vector<Value> items;
    std::vector<std::string> texts;

    void add(Kind kind, std::uint64_t integer = 0) { items.push_back({kind, {integer}}); }
};

// A document read once, its arrays of tensor data beside it.
struct Document {
    Json root;
    std::vector<Values> lists;

    // The values of a member `data` that is an array, else nothing.
    const Values* list(const Json& item) const;
};

// Parses as parse_json does, but takes out the arrays that are called `data` in an object in an
// array in the document's object, where the tensors of a request are: at most so many values, since
// the shortest ones take eight to sixteen times their text.
Result<Document> parse_document(std::string_view text, int max_depth,
                                std::size_t most_values = std::size_t{1} << 20);

// Whether JSON can have the text as it is.
bool is_utf8(std::string_view text);

// Text of a value on one line; invalid UTF-8 is replaced.
std::string dump(const Json& value);
// The same for text.
std::string quote(const std::string& text);

}  // namespace inferd
