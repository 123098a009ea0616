// The HTTP server: an event loop that reads, routes and answers; inference runs beside it.
#pragma once

#include <string>

#include "config.hpp"
#include "models.hpp"

namespace inferd {

// Serves until SIGTERM or SIGINT; then takes no more requests and finishes those it has.
// `ready_file`, unless empty, is written once requests are answered, and removed at the end.
Status serve(const Config& config, const Models& models, const std::string& ready_file);

// One line of JSON on stdout.
void log_line(const std::string& level, const std::string& message);

}  // namespace inferd
