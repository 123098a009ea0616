// inferd: the command line.

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "apart.hpp"
#include "config.hpp"
#include "json.hpp"
#include "models.hpp"
#include "selftest.hpp"
#include "server.hpp"

namespace inferd {
namespace {

constexpr int kFailed = 1;
constexpr int kWrongInput = 2;

constexpr const char* kHelp =
    "usage: inferd VERB [OPTIONS]\n"
    "\n"
    "verbs:\n"
    "  serve      answer the Open Inference Protocol v2 over HTTP\n"
    "  selftest   run the golden samples of every bundle; JSON report, exit code 1 if one fails\n"
    "  bench      time inference on a golden sample; JSON report\n"
    "  version    print the version\n"
    "\n"
    "options:\n"
    "  --config FILE      configuration, by default $INFERD_CONFIG or /etc/inferd.json\n"
    "  --ready-file FILE  serve: a file to write once requests are answered\n"
    "  --runs N           bench: number of runs, by default 50\n"
    "  --apart SECONDS    selftest: each model in a process of its own, for so long at most\n"
    "\n"
    "SIGHUP reads the configuration and its bundles again, SIGTERM stops.\n"
    "INFERD_LISTEN=ADDRESS:PORT overrides the address of the configuration.\n";

struct Options {
    std::string verb;
    std::string config = "/etc/inferd.json";
    std::string ready_file;
    int runs = 50;
    int apart = 0;  // seconds; 0: all models in this process
};

int complain(const std::string& message) {
    std::fprintf(stderr, "inferd: %s\n", message.c_str());
    return kWrongInput;
}

Status read_number(std::string_view name, std::string_view value, int most, int& number) {
    const auto [end, failed] = std::from_chars(value.begin(), value.end(), number);
    if (failed == std::errc() && end == value.end() && number >= 1 && number <= most) {
        return std::nullopt;
    }
    return Error{"", std::string(name) + " needs a number from 1 to " + std::to_string(most)};
}

Status read_option(std::string_view name, std::string_view value, Options& options) {
    if (name == "--config") {
        options.config = value;
    } else if (name == "--ready-file") {
        options.ready_file = value;
    } else if (name == "--runs") {
        return read_number(name, value, 1000000, options.runs);
    } else if (name == "--apart") {
        return read_number(name, value, 86400, options.apart);
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
    return inferd::run_command({argv + (argc > 0 ? 1 : 0), argv + argc});
}
