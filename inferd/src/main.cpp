// inferd: the command line.

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apart.hpp"
#include "bundle.hpp"
#include "config.hpp"
#include "json.hpp"
#include "models.hpp"
#include "selftest.hpp"
#include "server.hpp"

namespace inferd {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongInput = 2;
constexpr std::uint64_t kMaxMinimum = std::uint64_t{1} << 53;

constexpr const char* kHelp =
    "usage: inferd VERB [OPTIONS]\n"
    "\n"
    "verbs:\n"
    "  serve      answer the Open Inference Protocol v2 over HTTP\n"
    "  selftest   run the golden samples of every bundle; JSON report, exit code 1 if one fails\n"
    "  bench      time inference on a golden sample; JSON report\n"
    "  verify     check one bundle, of a language model too: digests, and signature with --key\n"
    "  version    print the version\n"
    "\n"
    "options:\n"
    "  --config FILE      configuration, by default $INFERD_CONFIG or /etc/inferd.json\n"
    "  --ready-file FILE  serve: a file to write once requests are answered\n"
    "  --runs N           bench: number of runs, by default 50\n"
    "  --apart SECONDS    selftest: each model in a process of its own, for so long at most\n"
    "  --bundle FOLDER    verify: the bundle\n"
    "  --name NAME        verify: the model that must be in it\n"
    "  --key KEY          verify: public key that must have signed it, in base64\n"
    "  --minimum N        verify: the least rollback_version, with --key\n"
    "\n"
    "SIGHUP reads the configuration and its bundles again, SIGTERM stops.\n"
    "INFERD_LISTEN=ADDRESS:PORT overrides the address of the configuration.\n";

struct Options {
    std::string verb;
    std::string config = "/etc/inferd.json";
    std::string ready_file;
    int runs = 50;
    int apart = 0;  // seconds; 0: all models in this process
    std::string bundle;
    std::string name;
    std::optional<Trust> trust;
    std::optional<std::uint64_t> minimum;
};

int complain(const std::string& message) {
    std::fprintf(stderr, "inferd: %s\n", message.c_str());
    return kWrongInput;
}

template <typename Number>
Status read_number(std::string_view name, std::string_view value, Number least, Number most,
                   Number& number) {
    const auto [end, failed] = std::from_chars(value.begin(), value.end(), number);
    if (failed == std::errc() && end == value.end() && number >= least && number <= most) {
        return std::nullopt;
    }
    return Error{"", std::string(name) + " needs a number from " + std::to_string(least) + " to " +
                         std::to_string(most)};
}

Status read_key(std::string_view value, Options& options) {
    const auto key = parse_public_key(value);
    if (!key) return Error{"", "--key: " + key.error().message};
    options.trust = Trust{*key};
    return std::nullopt;
}

Status read_option(std::string_view name, std::string_view value, Options& options) {
    if (name == "--config") {
        options.config = value;
    } else if (name == "--ready-file") {
        options.ready_file = value;
    } else if (name == "--runs") {
        return read_number(name, value, 1, 1000000, options.runs);
    } else if (name == "--apart") {
        return read_number(name, value, 1, 86400, options.apart);
    } else if (name == "--bundle") {
        options.bundle = value;
    } else if (name == "--name") {
        options.name = value;
    } else if (name == "--key") {
        return read_key(value, options);
    } else if (name == "--minimum") {
        return read_number(name, value, std::uint64_t{0}, kMaxMinimum, options.minimum.emplace());
    } else {
        return Error{"", "unknown option " + std::string(name) + "; try inferd --help"};
    }
    return std::nullopt;
}

Result<Options> read_options(const std::vector<std::string_view>& words) {
    Options options;
    if (const char* path = std::getenv("INFERD_CONFIG")) options.config = path;
    options.verb = words.empty() ? "--help" : words[0];
    for (std::size_t i = 1; i < words.size(); i += 2) {
        if (words[i] == "--help" || words[i] == "-h") {
            options.verb = "--help";
            return options;
        }
        if (i + 1 == words.size()) return Error{"", std::string(words[i]) + " needs a value"};
        if (auto problem = read_option(words[i], words[i + 1], options)) return *problem;
    }
    return options;
}

int report(const Json& list) {
    bool pass = true;
    for (const auto& model : list) pass = pass && model.value("pass", !model.contains("error"));
    std::puts(dump({{"models", list}, {"pass", pass}}).c_str());
    return pass ? EXIT_SUCCESS : kFailed;
}

int report(const Models& models, bool selftest, int runs) {
    auto list = Json::array();
    for (const auto& model : models.all()) {
        list.push_back(selftest ? selftest_model(*model) : bench_model(*model, runs));
    }
    return report(list);
}

int verify(const Options& options) {
    if (options.bundle.empty()) return complain("verify needs --bundle FOLDER");
    if (options.minimum && !options.trust) return complain("--minimum needs --key");
    auto trust = options.trust;
    if (options.minimum) trust->minimum_version = *options.minimum;
    const auto bundle = open_bundle(options.bundle, trust, options.name);
    if (!bundle) return complain(bundle.error().message);
    std::puts(bundle->digest.c_str());
    return EXIT_SUCCESS;
}

int run(const Options& options) {
    const auto config = read_config(options.config);
    if (!config) return complain(config.error().message);
    if (options.verb == "selftest" && options.apart > 0) {
        const auto list = selftest_apart(*config, static_cast<unsigned>(options.apart));
        return list ? report(*list) : complain(list.error().message);
    }
    auto models = Models::load(*config);
    if (!models) return complain(models.error().message);
    if (options.verb == "selftest") return report(**models, true, 0);
    if (options.verb == "bench") return report(**models, false, options.runs);
    if (auto problem = serve(*config, std::move(*models), {options.config, options.ready_file})) {
        return complain(problem->message);
    }
    return EXIT_SUCCESS;
}

int run_command(const std::vector<std::string_view>& words) {
    const auto options = read_options(words);
    if (!options) return complain(options.error().message);
    const auto& verb = options->verb;
    if (verb == "serve" || verb == "selftest" || verb == "bench") return run(*options);
    if (verb == "verify") return verify(*options);
    if (verb == "version" || verb == "--version") {
        std::puts(INFERD_VERSION);
        return EXIT_SUCCESS;
    }
    if (verb == "--help" || verb == "-h" || verb == "help") {
        std::fputs(kHelp, stdout);
        return EXIT_SUCCESS;
    }
    return complain("unknown verb " + verb + "; try inferd --help");
}

}  // namespace
}  // namespace inferd

int main(int argc, char** argv) {
    // Newer releases of ONNX Runtime report to their vendor unless this is set before they are
    // loaded. Here, since no other thread may read the environment meanwhile, as one does while a
    // reload loads them.
    ::setenv("ORT_DISABLE_TELEMETRY", "1", 1);
    return inferd::run_command({argv + (argc > 0 ? 1 : 0), argv + argc});
}
