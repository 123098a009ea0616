#include "log.hpp"

#include <cstdio>

namespace inferd {

void log_line(const std::string& level, const std::string& message, const Json& fields) {
    Json line = fields;
    line["level"] = level;
    line["message"] = message;
    std::puts(dump(line).c_str());
    std::fflush(stdout);
}

}  // namespace inferd
