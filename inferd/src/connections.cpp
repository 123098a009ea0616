#include "connections.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string_view>

namespace inferd {
namespace {

constexpr std::chrono::milliseconds kBeat{50};
constexpr std::size_t kStatusLine = 32;  // at least up to its status
constexpr int kOverflowStatus = 503;
constexpr std::string_view kOverflow =
    "HTTP/1.1 503 Service Unavailable\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: 56\r\n"
    "Retry-After: 1\r\n"
    "Connection: close\r\n\r\n"
    R"({"error":"too many unfinished requests hold the memory"})";
// Whoever sends without end does not keep the others waiting.
constexpr int kReadsPerBeat = 64;

// The library's side of a connection, which is what its functions are called with; null once it has
// closed the connection, from which it then takes its functions away.
evhttp_connection* library_side(bufferevent* connection) {
    bufferevent_data_cb read = nullptr;
    bufferevent_data_cb write = nullptr;
    bufferevent_event_cb event = nullptr;
    void* argument = nullptr;
    bufferevent_getcb(connection, &read, &write, &event, &argument);
    return static_cast<evhttp_connection*>(argument);
}

// Throws away what has come; false once the client has nothing more to send.
bool drain(int socket) {
    std::array<char, 65536> waste;
    for (int i = 0; i < kReadsPerBeat; ++i) {
        const auto got = ::recv(socket, waste.data(), waste.size(), MSG_DONTWAIT);
        if (got <= 0) return got < 0 && (errno == EAGAIN || errno == EINTR);
    }
    return true;
}

// The status of an answer of which the library has written the first line; 0 if it is none.
int status_of(evbuffer* output) {
    evbuffer_iovec part{};
    if (evbuffer_peek(output, kStatusLine, nullptr, &part, 1) < 1) return 0;
    const std::string_view line(static_cast<const char*>(part.iov_base), part.iov_len);
    const auto space = line.find(' ');
    if (!line.starts_with("HTTP/") || space == std::string_view::npos) return 0;
    int status = 0;
    std::from_chars(line.data() + space + 1, line.data() + line.size(), status);
    return status;
}

}  // namespace

Connections::Connections(event_base* base, evhttp* http, ConnectionLimits limits)
    : base_(base), http_(http), limits_(limits), ticker_(base, kBeat, on_beat, this) {
    overflow_.reset(event_new(base_, -1, 0, on_overflow, this));
    evhttp_set_bevcb(http, create, this);
}

Connections::~Connections() {
    for (auto& [connection, state] : open_) forget(connection, state);
}

void Connections::guard(evconnlistener* listener) { listener_ = listener; }

void Connections::bodies_at_most(std::size_t bytes) {
    const auto most = static_cast<ev_ssize_t>(bytes);
    // Of those to come; each has a limit of its own, copied when it is accepted.
    evhttp_set_max_body_size(http_, most);
    for (const auto& [connection, state] : open_) {
        if (auto* side = library_side(connection)) evhttp_connection_set_max_body_size(side, most);
    }
}

bufferevent* Connections::create(event_base* base, void* context) {
    auto* self = static_cast<Connections*>(context);
    bufferevent* made = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (made == nullptr) return nullptr;
    bufferevent_incref(made);
    // Before it is one of them: until it has its functions, it looks like one that was closed.
    if (self->open_.size() + 1 >= self->limits_.most) self->sweep();
    const auto now = Clock::now();
    auto& state = self->open_[made] = {self, now, now};
    evbuffer_add_cb(bufferevent_get_input(made), on_input, &state);
    evbuffer_add_cb(bufferevent_get_output(made), on_output, &state);
    self->ticker_.start();
    self->limit();
    return made;
}

void Connections::on_beat(void* context) {
    auto& self = *static_cast<Connections*>(context);
    self.sweep();
    if (self.each_beat_) self.each_beat_();
}

void Connections::begin(evhttp_request* request) {
    auto* connection = evhttp_connection_get_bufferevent(evhttp_request_get_connection(request));
    if (const auto found = open_.find(connection); found != open_.end()) {
        found->second.served = true;
    }
}

void Connections::finish(Open& state) {
    held_ -= state.held;
    state.held = 0;
}

void Connections::forget(bufferevent* connection, Open& state) {
    evbuffer_remove_cb(bufferevent_get_input(connection), on_input, &state);
    evbuffer_remove_cb(bufferevent_get_output(connection), on_output, &state);
    bufferevent_decref(connection);
}

// The library of this version has no function to be told of what it refuses by itself.
void Connections::on_output(evbuffer* output, const evbuffer_cb_info* change, void* context) {
    auto& self = *static_cast<Open*>(context)->owner;
    if (self.ours_ || change->orig_size != 0 || change->n_added == 0) return;
    const int status = status_of(output);
    constexpr int kContinue = 100;  // no answer yet
    if (status > kContinue && self.each_refusal_) self.each_refusal_(status);
}

void Connections::on_input(evbuffer*, const evbuffer_cb_info* change, void* context) {
    auto& state = *static_cast<Open*>(context);
    auto& self = *state.owner;
    state.moved = true;
    state.held += change->n_added;
    self.held_ += change->n_added;
    // Not here: what has come may be the rest of a request.
    if (self.held_ > self.limits_.bytes) event_active(self.overflow_.get(), EV_TIMEOUT, 0);
}

void Connections::on_overflow(evutil_socket_t, short, void* context) {
    auto& self = *static_cast<Connections*>(context);
    while (self.held_ > self.limits_.bytes) self.refuse_largest();
}

void Connections::refuse_largest() {
    const auto largest = std::max_element(
        open_.begin(), open_.end(),
        [](const auto& a, const auto& b) { return a.second.held < b.second.held; });
    auto& [connection, state] = *largest;
    finish(state);
    // The library knows no answer to half a request. Into one that still leaves, nothing is put.
    if (evbuffer_get_length(bufferevent_get_output(connection)) == 0) {
        ::send(bufferevent_getfd(connection), kOverflow.data(), kOverflow.size(),
               MSG_DONTWAIT | MSG_NOSIGNAL);
        if (each_refusal_) each_refusal_(kOverflowStatus);
    }
    bufferevent_trigger_event(connection, BEV_EVENT_READING | BEV_EVENT_EOF, 0);
    evbuffer* input = bufferevent_get_input(connection);
    evbuffer_drain(input, evbuffer_get_length(input));
}

void Connections::end(evhttp_request* request) {
    auto* connection = evhttp_connection_get_bufferevent(evhttp_request_get_connection(request));
    if (const auto found = open_.find(connection); found != open_.end()) {
        found->second.served = false;
        found->second.since = Clock::now();
        finish(found->second);
    }
}

std::size_t Connections::unsent() const {
    std::size_t bytes = 0;
    for (const auto& [connection, state] : open_) {
        if (!state.released) bytes += evbuffer_get_length(bufferevent_get_output(connection));
    }
    return bytes;
}

bool Connections::finished(bufferevent* connection, Open& state, Clock::time_point now) const {
    const int socket = bufferevent_getfd(connection);
    if (!state.released && library_side(connection) == nullptr) {
        state.released = true;
        state.since = now;
    }
    if (state.released) {
        return socket < 0 || !drain(socket) || now - state.since > limits_.linger;
    }
    // The library then sees its end. One that has just been made has no socket yet.
    const bool mute = silent(connection, state, now);
    const bool late = !state.served && now - state.since > limits_.request;
    if ((mute || late) && socket >= 0) ::shutdown(socket, SHUT_RDWR);
    return false;
}

bool Connections::silent(bufferevent* connection, Open& state, Clock::time_point now) const {
    const auto unsent = evbuffer_get_length(bufferevent_get_output(connection));
    if (unsent < state.unsent) {
        const std::chrono::duration<double> more(static_cast<double>(state.unsent - unsent) /
                                                 static_cast<double>(limits_.pace));
        state.since =
            std::min(now, state.since + std::chrono::duration_cast<Clock::duration>(more));
    }
    if (state.moved || state.served || unsent != state.unsent) state.active = now;
    state.moved = false;
    state.unsent = unsent;
    return now - state.active > limits_.silence;
}

void Connections::sweep() {
    const auto now = Clock::now();
    for (auto at = open_.begin(); at != open_.end();) {
        if (finished(at->first, at->second, now)) {
            finish(at->second);
            forget(at->first, at->second);
            at = open_.erase(at);
        } else {
            ++at;
        }
    }
    if (open_.empty()) ticker_.stop();
    limit();
}

void Connections::limit() {
    if (listener_ == nullptr) return;
    if (open_.size() >= limits_.most) {
        evconnlistener_disable(listener_);
    } else {
        evconnlistener_enable(listener_);
    }
}

}  // namespace inferd
