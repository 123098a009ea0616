#include "apart.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <optional>

#include "models.hpp"
#include "selftest.hpp"

namespace inferd {
namespace {

struct Ended {
    std::string text;  // what it wrote
    int status;        // as of waitpid
};

[[noreturn]] void write_and_exit(int target, std::string_view text) {
    while (!text.empty()) {
        const auto written = ::write(target, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) ::_exit(EXIT_FAILURE);
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    ::_exit(EXIT_SUCCESS);
}

std::string read_all(int source) {
    std::string text;
    std::array<char, 4096> part{};
    for (;;) {
        const auto got = ::read(source, part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return text;
        text.append(part.data(), static_cast<std::size_t>(got));
    }
}

// Runs a function in a process of its own, and gives the text that it returned.
Result<Ended> run_apart(const std::function<std::string()>& function, unsigned seconds) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Error{"", std::strerror(errno)};
    const auto child = ::fork();
    if (child == 0) {
        ::signal(SIGALRM, SIG_DFL);
        ::alarm(seconds);
        write_and_exit(ends[1], function());
    }
    const int problem = errno;
    ::close(ends[1]);
    Ended ended{child < 0 ? "" : read_all(ends[0]), 0};
    ::close(ends[0]);
    if (child < 0) return Error{"", std::strerror(problem)};
    while (::waitpid(child, &ended.status, 0) < 0 && errno == EINTR) {
    }
    return ended;
}

Json test_model(Models& models, const Config& config, const ModelConfig& entry) {
    if (auto problem = models.add(config, entry)) {
        return {{"error", problem->message}, {"pass", false}};
    }
    return selftest_model(*models.all().back());
}

std::string why_ended(int status, unsigned seconds) {
    if (!WIFSIGNALED(status)) return "its process ended without a report";
    if (WTERMSIG(status) == SIGALRM) return "took more than " + std::to_string(seconds) + " s";
    return ::strsignal(WTERMSIG(status));
}

Json report_of(const Ended& ended, unsigned seconds) {
    auto json = parse_json(ended.text);
    if (ended.status == 0 && json && json->is_object()) return std::move(*json);
    Json report = {{"error", why_ended(ended.status, seconds)}, {"pass", false}};
    if (WIFSIGNALED(ended.status)) report["signal"] = WTERMSIG(ended.status);
    return report;
}

// In a process of its own first: a library can be one that the core cannot run. `crash` is then
// the report of every model.
Status load_libraries(Models& models, const Config& config, unsigned seconds,
                      std::optional<Json>& crash) {
    const auto load = [&]() -> std::string {
        const auto problem = models.load_libraries(config);
        return problem ? problem->message : "";
    };
    const auto ended = run_apart(load, seconds);
    if (!ended) return ended.error();
    if (ended->status != 0) {
        crash = report_of(*ended, seconds);
        (*crash)["error"] = "loading the runtime: " + why_ended(ended->status, seconds);
        return std::nullopt;
    }
    if (!ended->text.empty()) return Error{"", ended->text};
    return models.load_libraries(config);
}

}  // namespace

Result<Json> selftest_apart(const Config& config, unsigned seconds) {
    Models models;
    std::optional<Json> crash;
    if (auto problem = load_libraries(models, config, seconds, crash)) return *problem;
    auto reports = Json::array();
    for (const auto& entry : config.models) {
        if (crash) {
            reports.push_back(*crash);
        } else {
            const auto ended =
                run_apart([&] { return dump(test_model(models, config, entry)); }, seconds);
            if (!ended) return ended.error();
            reports.push_back(report_of(*ended, seconds));
        }
        reports.back()["bundle"] = entry.bundle;
    }
    return reports;
}

}  // namespace inferd
