// JSON from hostile sources: limited in depth, without doubled keys, never throwing.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "result.hpp"

namespace inferd {

using Json = nlohmann::json;

// Parses UTF-8 JSON at most `max_depth` levels deep.
// Fails with the code `not-json` for anything else, doubled keys included.
Result<Json> parse_json(std::string_view text, int max_depth = 32);

// Text of a value on one line; invalid UTF-8 is replaced.
std::string dump(const Json& value);

}  // namespace inferd
