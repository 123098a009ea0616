// Structured logs on stdout, one JSON object a line.
#pragma once

#include <string>

#include "json.hpp"

namespace inferd {

// `fields` is an object whose keys are added to the line.
void log_line(const std::string& level, const std::string& message,
              const Json& fields = Json::object());

}  // namespace inferd
