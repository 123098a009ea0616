// The schema of bundle.json in code.
#pragma once

#include "bundle.hpp"
#include "json.hpp"

namespace inferd {

// Checks a parsed bundle.json and takes what a device needs of it.
Result<Description> read_description(const Json& json);

// 1 to 128 characters of [A-Za-z0-9._-], not beginning with a dot.
bool is_file_name(std::string_view name);

}  // namespace inferd
