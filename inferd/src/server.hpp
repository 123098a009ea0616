// Serving: sockets, signals, reloads and the end.
#pragma once

#include <memory>
#include <string>

#include "config.hpp"
#include "models.hpp"

namespace inferd {

struct ServeOptions {
    std::string config;      // read again at SIGHUP
    std::string ready_file;  // unless empty, written once requests are answered, gone at the end
};

// Serves until SIGTERM or SIGINT; then takes no more requests and finishes those it has.
Status serve(const Config& config, std::shared_ptr<Models> models, const ServeOptions& options);

}  // namespace inferd
