// The configuration file (docs/reference/device-contract.md) and what the environment overrides.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bundle.hpp"
#include "result.hpp"

namespace inferd {

struct ModelConfig {
    std::string bundle;  // folder
    std::string name;    // of the model that must be in it; empty means any
    std::string device = "cpu";
    bool allow_fallback = false;
    std::string delegate;  // path; empty means none
    int threads = 1;
    std::optional<std::uint64_t> memory_limit;  // bytes of RSS that loading may add
};

struct Config {
    std::string address = "127.0.0.1";
    std::uint16_t port = 8080;
    bool metrics = true;
    std::size_t queue = 64;                       // requests that may wait
    std::size_t connections = 256;                // that may be open
    std::chrono::milliseconds deadline{10000};    // for a request to wait
    std::chrono::milliseconds run_limit{60000};   // for a model to run
    std::string token;                            // that clients must show; empty means none
    std::map<std::string, std::string> runtimes;  // name -> path of the library
    std::optional<Trust> trust;                   // whose bundles are taken; none: anyone's
    std::vector<ModelConfig> models;
};

// Parses the text of a configuration; unknown keys are an error.
Result<Config> parse_config(std::string_view text);

// Reads the file, then lets INFERD_LISTEN override the address.
Result<Config> read_config(const std::string& path);

// The keys in which two configurations differ, of those that a reload does not change.
std::vector<std::string> keys_for_restart(const Config& before, const Config& after);

// ADDRESS:PORT with an IPv4 address.
Status parse_listen(std::string_view text, Config& config);

}  // namespace inferd
