#include "server.hpp"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string_view>

#include "protocol.hpp"
#include "worker.hpp"

namespace inferd {
namespace {

constexpr std::size_t kQueue = 64;
constexpr int kMaxHeaders = 16 << 10;
constexpr int kTimeoutSeconds = 10;

template <auto Function>
struct Deleter {
    template <typename T>
    void operator()(T* object) const {
        Function(object);
    }
};
using Base = std::unique_ptr<event_base, Deleter<event_base_free>>;
using Http = std::unique_ptr<evhttp, Deleter<evhttp_free>>;
using Event = std::unique_ptr<event, Deleter<event_free>>;

class EventFd {
  public:
    EventFd() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
    EventFd(const EventFd&) = delete;
    EventFd& operator=(const EventFd&) = delete;
    ~EventFd() { ::close(fd_); }
    int get() const { return fd_; }
    void raise() const { ::eventfd_write(fd_, 1); }
    void clear() const {
        eventfd_t count = 0;
        ::eventfd_read(fd_, &count);
    }

  private:
    int fd_;
};

class Server {
  public:
    Server(const Models& models, event_base* base)
        : models_(models), base_(base), worker_(kQueue, [this] { wake_.raise(); }) {
        event_.reset(event_new(base_, wake_.get(), EV_READ | EV_PERSIST, on_wake, this));
        event_add(event_.get(), nullptr);
    }

    void handle(evhttp_request* request) {
        const char* raw = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
        const std::string_view path = raw == nullptr ? "" : raw;
        if (stopping_) return send_error(request, 503, "the server is stopping");
        if (path == "/v2" || path == "/v2/") return get(request, server_metadata());
        if (path == "/v2/health/live") return get(request, {{"live", true}});
        if (path == "/v2/health/ready") return get(request, {{"ready", true}});
        constexpr std::string_view kModels = "/v2/models/";
        if (path.starts_with(kModels)) return handle_model(request, path.substr(kModels.size()));
        send_error(request, 404, "there is nothing at this path");
    }

    // Takes no more requests; the loop ends when all are answered.
    void stop() {
        stopping_ = true;
        end_if_idle();
    }

  private:
    void handle_model(evhttp_request* request, std::string_view rest) {
        const auto slash = rest.find('/');
        const std::string name(rest.substr(0, slash));
        std::string_view verb = slash == std::string_view::npos ? "" : rest.substr(slash);
        Model* model = models_.find(name);
        if (model == nullptr) return send_error(request, 404, "there is no model " + name);
        constexpr std::string_view kVersions = "/versions/";
        if (verb.starts_with(kVersions)) {
            verb.remove_prefix(kVersions.size());
            const auto end = verb.find('/');
            if (verb.substr(0, end) != model->bundle.description.version) {
                return send_error(request, 404, name + " has no such version");
            }
            verb = end == std::string_view::npos ? "" : verb.substr(end);
        }
        if (verb.empty()) return get(request, model_metadata(*model));
        if (verb == "/ready") return get(request, {{"name", name}, {"ready", true}});
        if (verb == "/infer") return infer(request, *model);
        send_error(request, 404, "there is nothing at this path");
    }

    void get(evhttp_request* request, const Json& body) {
        const auto method = evhttp_request_get_command(request);
        if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
            return send_error(request, 405, "use GET");
        }
        send(request, 200, dump(body));
    }

    void infer(evhttp_request* request, Model& model) {
        if (evhttp_request_get_command(request) != EVHTTP_REQ_POST) {
            return send_error(request, 405, "use POST");
        }
        evbuffer* input = evhttp_request_get_input_buffer(request);
        const std::size_t size = evbuffer_get_length(input);
        const auto& description = model.bundle.description;
        if (size > request_limit(description)) {
            return send_error(request, 413, "the request is too large for this model");
        }
        const auto* bytes = reinterpret_cast<const char*>(evbuffer_pullup(input, -1));
        const std::string_view text(bytes == nullptr ? "" : bytes, size);
        auto parsed = parse_infer(text, description);
        if (!parsed) return send_error(request, 400, parsed.error().message);
        const auto id = ++last_id_;
        if (!worker_.submit({id, &model, std::move(*parsed)})) {
            evhttp_add_header(evhttp_request_get_output_headers(request), "Retry-After", "1");
            return send_error(request, 503, "the queue is full");
        }
        waiting_[id] = request;
        evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_close, this);
    }

    static void on_wake(evutil_socket_t, short, void* context) {
        static_cast<Server*>(context)->answer_all();
    }

    void answer_all() {
        wake_.clear();
        for (const auto& answer : worker_.collect()) {
            const auto found = waiting_.find(answer.id);
            if (found == waiting_.end()) continue;  // the client left
            evhttp_request* request = found->second;
            waiting_.erase(found);
            evhttp_connection_set_closecb(evhttp_request_get_connection(request), nullptr, nullptr);
            send(request, answer.status, answer.body);
        }
        end_if_idle();
    }

    // The library frees the requests of a closed connection.
    static void on_close(evhttp_connection* connection, void* context) {
        auto& waiting = static_cast<Server*>(context)->waiting_;
        std::erase_if(waiting, [&](const auto& entry) {
            return evhttp_request_get_connection(entry.second) == connection;
        });
    }

    void end_if_idle() {
        if (!stopping_ || !waiting_.empty()) return;
        // Time for the last answers to leave.
        const timeval soon{0, 100000};
        event_base_loopexit(base_, &soon);
    }

    static void send_error(evhttp_request* request, int status, const std::string& message) {
        send(request, status, dump({{"error", message}}));
    }

    static void send(evhttp_request* request, int status, const std::string& body) {
        auto* headers = evhttp_request_get_output_headers(request);
        evhttp_add_header(headers, "Content-Type", "application/json");
        // The library would send the body of an answer to HEAD too.
        evhttp_add_header(headers, "Content-Length", std::to_string(body.size()).c_str());
        if (evhttp_request_get_command(request) != EVHTTP_REQ_HEAD) {
            evbuffer* output = evhttp_request_get_output_buffer(request);
            evbuffer_add(output, body.data(), body.size());
        }
        evhttp_send_reply(request, status, nullptr, nullptr);
    }

    const Models& models_;
    event_base* base_;
    EventFd wake_;
    Worker worker_;
    Event event_;
    std::map<std::uint64_t, evhttp_request*> waiting_;
    std::uint64_t last_id_ = 0;
    bool stopping_ = false;
};

std::size_t body_limit(const Models& models) {
    std::size_t most = 1 << 16;
    for (const auto& model : models.all()) {
        most = std::max(most, request_limit(model->bundle.description));
    }
    return most;
}

struct Stopper {
    Server* server;
    evhttp* http;
    evhttp_bound_socket* socket;
};

void on_signal(evutil_socket_t, short, void* context) {
    auto* stopper = static_cast<Stopper*>(context);
    log_line("info", "stopping");
    if (stopper->socket != nullptr) {
        evhttp_del_accept_socket(stopper->http, stopper->socket);
        stopper->socket = nullptr;
    }
    stopper->server->stop();
}

}  // namespace

void log_line(const std::string& level, const std::string& message) {
    std::puts(dump({{"level", level}, {"message", message}}).c_str());
    std::fflush(stdout);
}

Status serve(const Config& config, const Models& models, const std::string& ready_file) {
    std::signal(SIGPIPE, SIG_IGN);
    const Base base(event_base_new());
    const Http http(evhttp_new(base.get()));
    Server server(models, base.get());
    evhttp_set_max_headers_size(http.get(), kMaxHeaders);
    evhttp_set_max_body_size(http.get(), static_cast<ev_ssize_t>(body_limit(models)));
    evhttp_set_timeout(http.get(), kTimeoutSeconds);
    evhttp_set_allowed_methods(http.get(), EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST |
                                               EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE);
    evhttp_set_gencb(
        http.get(),
        [](evhttp_request* request, void* context) {
            static_cast<Server*>(context)->handle(request);
        },
        &server);
    evhttp_bound_socket* socket =
        evhttp_bind_socket_with_handle(http.get(), config.address.c_str(), config.port);
    if (socket == nullptr) {
        return Error{"", "cannot listen on " + config.address + ":" + std::to_string(config.port) +
                             ": " + evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR())};
    }
    Stopper stopper{&server, http.get(), socket};
    const Event terminate(evsignal_new(base.get(), SIGTERM, on_signal, &stopper));
    const Event interrupt(evsignal_new(base.get(), SIGINT, on_signal, &stopper));
    event_add(terminate.get(), nullptr);
    event_add(interrupt.get(), nullptr);
    if (!ready_file.empty() && !(std::ofstream(ready_file) << "ready\n" << std::flush)) {
        return Error{"", "cannot write " + ready_file};
    }
    log_line("info", "listening on " + config.address + ":" + std::to_string(config.port));
    event_base_dispatch(base.get());
    if (!ready_file.empty()) ::unlink(ready_file.c_str());
    return std::nullopt;
}

}  // namespace inferd
