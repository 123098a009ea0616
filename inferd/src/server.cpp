#include "server.hpp"

#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <thread>

#include "connections.hpp"
#include "http.hpp"
#include "log.hpp"
#include "notify.hpp"
#include "selftest.hpp"
#include "service.hpp"
#include "ticker.hpp"

namespace inferd {
namespace {

constexpr int kMaxHeaders = 16 << 10;
constexpr std::size_t kMargin = 256 << 10;
constexpr std::size_t kMaxHeld = 16 << 20;  // of unfinished requests, besides the largest one
constexpr rlim_t kOtherFiles = 64;          // besides connections

struct Loaded {
    Config config;
    std::shared_ptr<Models> models;
};

// Reads, loads and proves all anew; nothing that serves is touched.
Result<Loaded> load_anew(const std::string& path) {
    auto config = read_config(path);
    if (!config) return config.error();
    auto models = Models::load(*config);
    if (!models) return models.error();
    for (const auto& model : (*models)->all()) {
        const auto report = selftest_model(*model);
        if (!report["pass"].get<bool>()) {
            return Error{"", model->bundle.description.name + ": its selftest failed"};
        }
    }
    return Loaded{std::move(*config), std::move(*models)};
}

// How many connections may be open: as many as are wanted, if the process may have as many files.
// Without one for the next connection the loop would turn, and complain, without end.
std::size_t connections_for(std::size_t wanted) {
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) != 0) return wanted;
    const rlim_t needed = wanted + kOtherFiles;
    if (files.rlim_cur < needed) {
        const rlimit more{std::min(needed, files.rlim_max), files.rlim_max};
        if (::setrlimit(RLIMIT_NOFILE, &more) == 0) files = more;
    }
    if (files.rlim_cur >= needed) return wanted;
    const auto fewer =
        static_cast<std::size_t>(std::max<rlim_t>(files.rlim_cur, kOtherFiles + 1) - kOtherFiles);
    log_line("warning", "fewer connections than configured, by the limit of open files",
             {{"connections", fewer}});
    return fewer;
}

void log_models(const Models& models) {
    for (const auto& model : models.all()) {
        log_line("info", "model loaded",
                 {{"model", model->bundle.description.name},
                  {"version", model->bundle.description.version},
                  {"digest", model->bundle.digest},
                  {"runtime", model->backend->name()},
                  {"device", model->device},
                  {"fallback", model->fallback()},
                  {"provider", model->session->provider()},
                  {"threads", model->threads},
                  {"load_ms", model->load_ms}});
    }
}

class Server {
  public:
    Server(const Config& config, std::shared_ptr<Models> models, const ServeOptions& options)
        : options_(options),
          config_(config),
          base_(make_loop()),
          http_(evhttp_new(base_.get())),
          connections_(base_.get(), http_.get(), {connections_for(config.connections)}),
          service_(config, std::move(models), base_.get(), connections_) {}

    ~Server() {
        if (reload_.joinable()) reload_.join();
        // Its connections call back into the service.
        http_.reset();
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    Status listen(const Config& config, const Models& models) {
        evhttp_set_max_headers_size(http_.get(), kMaxHeaders);
        limit_bodies(models);
        evhttp_set_allowed_methods(http_.get(), EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                                    EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE);
        evhttp_set_gencb(http_.get(), on_request, &service_);
        const auto passed = passed_socket();
        socket_ = passed ? evhttp_accept_socket_with_handle(http_.get(), *passed)
                         : evhttp_bind_socket_with_handle(http_.get(), config.address.c_str(),
                                                          config.port);
        const std::string address =
            passed ? "a socket of systemd" : config.address + ":" + std::to_string(config.port);
        if (socket_ == nullptr) {
            return Error{"", "cannot listen on " + address + ": " +
                                 evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR())};
        }
        for (const int signal : {SIGTERM, SIGINT}) add_signal(signal, on_stop);
        add_signal(SIGHUP, on_hangup);
        connections_.guard(evhttp_bound_socket_get_listener(socket_));
        // Accepted connections inherit it; without it an answer could wait for an acknowledgement.
        const int on = 1;
        ::setsockopt(evhttp_bound_socket_get_fd(socket_), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        const auto& file = options_.ready_file;
        if (!file.empty() && !(std::ofstream(file) << "ready\n" << std::flush)) {
            return Error{"", "cannot write " + file};
        }
        log_models(models);
        log_line("info", "listening on " + address);
        return std::nullopt;
    }

    void run() {
        reloaded_.reset(
            event_new(base_.get(), done_.get(), EV_READ | EV_PERSIST, on_reloaded, this));
        event_add(reloaded_.get(), nullptr);
        if (const auto interval = watchdog_interval()) {
            watchdog_.emplace(base_.get(), *interval, feed_watchdog, nullptr);
            watchdog_->start();
        }
        notify("READY=1");
        event_base_dispatch(base_.get());
        // As after a crash the ready file stays, which tells whoever starts it anew that it
        // answered.
        if (service_.stuck()) std::_Exit(EXIT_FAILURE);
        if (!options_.ready_file.empty()) ::unlink(options_.ready_file.c_str());
        if (reload_.joinable()) leave();
    }

  private:
    // All that was owed is answered. A reload would serve nobody now, but may be in a runtime's
    // library for minutes, where it cannot be broken off; and what ends a process in order
    // (libraries that free what they have, too) would take its things from under it.
    [[noreturn]] static void leave() {
        log_line("info", "stopped before a reload had ended");
        std::_Exit(EXIT_SUCCESS);
    }

    static void on_request(evhttp_request* request, void* context) {
        static_cast<Service*>(context)->handle(request);
    }

    static void feed_watchdog(void*) { notify("WATCHDOG=1"); }

    static void on_stop(evutil_socket_t, short, void* context) {
        auto* self = static_cast<Server*>(context);
        log_line("info", "stopping");
        notify("STOPPING=1");
        self->stopping_ = true;
        if (self->socket_ != nullptr) {
            self->connections_.guard(nullptr);
            evhttp_del_accept_socket(self->http_.get(), self->socket_);
            self->socket_ = nullptr;
        }
        self->service_.stop();
    }

    static void on_hangup(evutil_socket_t, short, void* context) {
        static_cast<Server*>(context)->reload();
    }

    static void on_reloaded(evutil_socket_t, short, void* context) {
        static_cast<Server*>(context)->finish_reload();
    }

    void add_signal(int signal, event_callback_fn function) {
        signals_.emplace_back(evsignal_new(base_.get(), signal, function, this));
        event_add(signals_.back().get(), nullptr);
    }

    // What is only a little too large is read, and refused with our own words.
    void limit_bodies(const Models& models) {
        const auto largest = body_limit(models) + kMargin;
        connections_.bodies_at_most(largest);
        connections_.hold_at_most(kMaxHeld + largest);
    }

    void reload() {
        if (stopping_) return;
        again_ = reload_.joinable();
        if (again_) return;
        const auto now =
            std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch());
        notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(now.count()));
        reload_ = std::thread([this] {
            result_ = std::make_unique<Result<Loaded>>(load_anew(options_.config));
            done_.raise();
        });
    }

    void finish_reload() {
        done_.clear();
        reload_.join();
        const auto result = std::move(result_);
        if (stopping_) return;
        if (*result) {
            auto& loaded = **result;
            limit_bodies(*loaded.models);
            log_models(*loaded.models);
            log_line("info", "reloaded");
            const auto keys = keys_for_restart(config_, loaded.config);
            if (!keys.empty()) {
                log_line("warning", "changed keys that take effect with a restart only",
                         {{"keys", keys}});
            }
            service_.replace(std::move(loaded.models), loaded.config.token);
        } else {
            log_line("error", "not reloaded, the old models serve on",
                     {{"reason", result->error().message}});
            service_.reload_failed();
        }
        notify("READY=1");
        if (again_) reload();
    }

    const ServeOptions options_;
    const Config config_;  // that it began with
    Base base_;
    Http http_;
    Connections connections_;
    Service service_;
    evhttp_bound_socket* socket_ = nullptr;
    std::vector<Event> signals_;
    std::optional<Ticker> watchdog_;
    EventFd done_;
    Event reloaded_;
    bool stopping_ = false;
    bool again_ = false;
    std::unique_ptr<Result<Loaded>> result_;  // of the thread, once it has raised `done_`
    std::thread reload_;
};

}  // namespace

Status serve(const Config& config, std::shared_ptr<Models> models, const ServeOptions& options) {
    std::signal(SIGPIPE, SIG_IGN);
    const auto& loaded = *models;
    Server server(config, std::move(models), options);
    if (auto problem = server.listen(config, loaded)) return problem;
    server.run();
    return std::nullopt;
}

}  // namespace inferd
