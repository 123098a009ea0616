#include "config.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <tuple>

#include "file.hpp"
#include "json.hpp"

namespace inferd {
namespace {

constexpr std::uint64_t kMaxConfig = 1 << 20;
constexpr std::size_t kMinToken = 16;
constexpr std::size_t kMaxToken = 4096;

Status known_keys(const Json& value, const std::string& where,
                  std::initializer_list<const char*> known) {
    if (!value.is_object()) return Error{"", where + " must be an object"};
    for (const auto& [key, item] : value.items()) {
        bool found = false;
        for (const char* name : known) found = found || key == name;
        if (!found) return Error{"", where + ": unknown key " + key};
    }
    return std::nullopt;
}

Result<ModelConfig> read_model(const Json& value) {
    if (auto problem = known_keys(
            value, "models",
            {"bundle", "name", "device", "fallback", "delegate", "threads", "memory_limit"})) {
        return *problem;
    }
    ModelConfig model;
    if (!value.contains("bundle") || !value["bundle"].is_string()) {
        return Error{"", "models: bundle must be a folder"};
    }
    model.bundle = value["bundle"].get<std::string>();
    const auto device = value.value("device", Json("cpu"));
    const auto fallback = value.value("fallback", Json("deny"));
    if (device != "cpu" && device != "gpu" && device != "npu") {
        return Error{"", "models: device must be cpu, gpu or npu"};
    }
    if (fallback != "deny" && fallback != "allow") {
        return Error{"", "models: fallback must be deny or allow"};
    }
    model.device = device.get<std::string>();
    model.allow_fallback = fallback == "allow";
    const auto delegate = value.value("delegate", Json(""));
    if (!delegate.is_string()) return Error{"", "models: delegate must be a path"};
    model.delegate = delegate.get<std::string>();
    const auto name = value.value("name", Json(""));
    if (!name.is_string()) return Error{"", "models: name must be text"};
    model.name = name.get<std::string>();
    const auto threads = value.value("threads", Json(1U));
    if (!threads.is_number_unsigned() || threads < 1U || threads > 256U) {
        return Error{"", "models: threads must be 1 to 256"};
    }
    model.threads = threads.get<int>();
    const auto limit = value.value("memory_limit", Json());
    if (limit.is_number_unsigned()) model.memory_limit = limit.get<std::uint64_t>();
    if (!limit.is_null() && !limit.is_number_unsigned()) {
        return Error{"", "models: memory_limit must be a number of bytes, or null"};
    }
    return model;
}

// The first line of a file of its own, so that it can be a credential of the service's manager.
Result<std::string> read_token(const std::string& path) {
    const auto file = MappedFile::open(path, Links::kFollowed);
    if (!file) return file.error();
    const auto bytes = file->bytes();
    const std::string text(reinterpret_cast<const char*>(bytes.data()),
                           std::min<std::size_t>(bytes.size(), kMaxToken + 1));
    const auto token = text.substr(0, text.find_first_of("\r\n"));
    if (token.size() < kMinToken || token.size() > kMaxToken) {
        return Error{"", path + ": a token has 16 to 4096 characters"};
    }
    return token;
}

Status read_number(const Json& json, const char* key, std::uint64_t most, std::uint64_t& value) {
    const auto given = json.value(key, Json(value));
    if (!given.is_number_unsigned() || given < 1U || given > most) {
        return Error{"", std::string(key) + " must be 1 to " + std::to_string(most)};
    }
    value = given.get<std::uint64_t>();
    return std::nullopt;
}

Status read_limits(const Json& json, Config& config) {
    std::uint64_t queue = config.queue;
    std::uint64_t connections = config.connections;
    auto deadline = static_cast<std::uint64_t>(config.deadline.count());
    auto run_limit = static_cast<std::uint64_t>(config.run_limit.count());
    for (const auto& [key, most, value] :
         {std::tuple("queue", 100000U, &queue), std::tuple("connections", 10000U, &connections),
          std::tuple("deadline_ms", 3600000U, &deadline),
          std::tuple("run_limit_ms", 3600000U, &run_limit)}) {
        if (auto problem = read_number(json, key, most, *value)) return problem;
    }
    config.queue = static_cast<std::size_t>(queue);
    config.connections = static_cast<std::size_t>(connections);
    config.deadline = std::chrono::milliseconds(deadline);
    config.run_limit = std::chrono::milliseconds(run_limit);
    const auto metrics = json.value("metrics", Json(true));
    if (!metrics.is_boolean()) return Error{"", "metrics must be true or false"};
    config.metrics = metrics.get<bool>();
    const auto path = json.value("token_file", Json());
    if (path.is_null()) return std::nullopt;
    if (!path.is_string()) return Error{"", "token_file must be a path, or null"};
    auto token = read_token(path.get<std::string>());
    if (!token) return token.error();
    config.token = std::move(*token);
    return std::nullopt;
}

Status read_trust(const Json& json, Config& config) {
    const auto given = json.value("verify", Json());
    if (given.is_null()) return std::nullopt;
    if (auto problem = known_keys(given, "verify", {"key", "minimum_version"})) return problem;
    const auto text = given.value("key", Json());
    const auto least = given.value("minimum_version", Json(0U));
    const auto key = parse_public_key(text.is_string() ? text.get<std::string>() : "");
    if (!key) return Error{"", "verify.key: " + key.error().message};
    if (!least.is_number_unsigned()) {
        return Error{"", "verify.minimum_version must be a whole number"};
    }
    config.trust = Trust{*key, least.get<std::uint64_t>()};
    return std::nullopt;
}

Status read_lists(const Json& json, Config& config) {
    const auto runtimes = json.value("runtimes", Json::object());
    if (!runtimes.is_object()) return Error{"", "runtimes must be an object"};
    for (const auto& [name, path] : runtimes.items()) {
        if (!path.is_string()) return Error{"", "runtimes." + name + " must be a path"};
        config.runtimes[name] = path.get<std::string>();
    }
    const auto models = json.value("models", Json::array());
    if (!models.is_array()) return Error{"", "models must be a list"};
    for (const auto& item : models) {
        auto model = read_model(item);
        if (!model) return model.error();
        config.models.push_back(std::move(*model));
    }
    return std::nullopt;
}

}  // namespace

Status parse_listen(std::string_view text, Config& config) {
    const auto colon = text.rfind(':');
    const Error wrong{"", "listen: " + std::string(text) + " is not ADDRESS:PORT with IPv4"};
    if (colon == std::string_view::npos) return wrong;
    const std::string address(text.substr(0, colon));
    const auto digits = text.substr(colon + 1);
    unsigned port = 0;
    const auto [end, failed] = std::from_chars(digits.begin(), digits.end(), port);
    in_addr parsed{};
    if (failed != std::errc() || end != digits.end() || port < 1 || port > 65535 ||
        ::inet_pton(AF_INET, address.c_str(), &parsed) != 1) {
        return wrong;
    }
    config.address = address;
    config.port = static_cast<std::uint16_t>(port);
    return std::nullopt;
}

Result<Config> parse_config(std::string_view text) {
    const auto json = parse_json(text, 8);
    if (!json) return json.error();
    if (auto problem =
            known_keys(*json, "configuration",
                       {"format", "listen", "metrics", "runtimes", "models", "queue", "connections",
                        "deadline_ms", "run_limit_ms", "token_file", "verify"})) {
        return *problem;
    }
    if (json->value("format", Json()) != 1) return Error{"", "format must be 1"};
    Config config;
    const auto listen = json->value("listen", Json("127.0.0.1:8080"));
    if (!listen.is_string()) return Error{"", "listen must be text"};
    if (auto problem = parse_listen(listen.get<std::string>(), config)) return *problem;
    if (auto problem = read_limits(*json, config)) return *problem;
    if (auto problem = read_trust(*json, config)) return *problem;
    if (auto problem = read_lists(*json, config)) return *problem;
    return config;
}

std::vector<std::string> keys_for_restart(const Config& before, const Config& after) {
    std::vector<std::string> keys;
    const auto add = [&](const char* key, bool same) {
        if (!same) keys.emplace_back(key);
    };
    add("listen", before.address == after.address && before.port == after.port);
    add("metrics", before.metrics == after.metrics);
    add("queue", before.queue == after.queue);
    add("connections", before.connections == after.connections);
    add("deadline_ms", before.deadline == after.deadline);
    add("run_limit_ms", before.run_limit == after.run_limit);
    return keys;
}

Result<Config> read_config(const std::string& path) {
    const auto file = MappedFile::open(path, Links::kFollowed);
    if (!file) return file.error();
    const auto bytes = file->bytes();
    if (bytes.size() > kMaxConfig) return Error{"", path + ": over 1 MiB"};
    auto config = parse_config({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    if (!config) return Error{"", path + ": " + config.error().message};
    if (const char* listen = std::getenv("INFERD_LISTEN")) {
        if (auto problem = parse_listen(listen, *config)) return *problem;
    }
    return config;
}

}  // namespace inferd
