#include "http.hpp"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "json.hpp"

namespace inferd {
namespace {

// Sends what the library would send after the loop's next turn, of which it thus spares one.
void write_now(bufferevent* connection) {
    evbuffer* output = bufferevent_get_output(connection);
    // Held so that none but the library takes from it, in the way in which this does.
    evbuffer_unfreeze(output, 1);
    evbuffer_write(output, bufferevent_getfd(connection));
    evbuffer_freeze(output, 1);
    // All is sent: on to the next request. What is left, and errors, are the library's.
    if (evbuffer_get_length(output) == 0) bufferevent_trigger(connection, EV_WRITE, 0);
}

}  // namespace

EventFd::EventFd() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

EventFd::~EventFd() { ::close(fd_); }

void EventFd::raise() const { ::eventfd_write(fd_, 1); }

void EventFd::clear() const {
    eventfd_t count = 0;
    ::eventfd_read(fd_, &count);
}

Base make_loop() {
    const std::unique_ptr<event_config, Deleter<event_config_free>> config(event_config_new());
    event_config_set_flag(config.get(), EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    return Base(event_base_new_with_config(config.get()));
}

std::string_view header_of(evhttp_request* request, const char* name) {
    const char* value = evhttp_find_header(evhttp_request_get_input_headers(request), name);
    return value == nullptr ? std::string_view() : std::string_view(value);
}

void add_header(evhttp_request* request, const char* name, const std::string& value) {
    evhttp_add_header(evhttp_request_get_output_headers(request), name, value.c_str());
}

void send(evhttp_request* request, int status, const std::string& body, const std::string& type) {
    add_header(request, "Content-Type", type);
    // The library would send the body of an answer to HEAD too.
    add_header(request, "Content-Length", std::to_string(body.size()));
    if (evhttp_request_get_command(request) != EVHTTP_REQ_HEAD) {
        evbuffer_add(evhttp_request_get_output_buffer(request), body.data(), body.size());
    }
    // The request may be gone once it is sent.
    evhttp_connection* connection = evhttp_request_get_connection(request);
    evhttp_send_reply(request, status, nullptr, nullptr);
    if (connection != nullptr) write_now(evhttp_connection_get_bufferevent(connection));
}

void send_error(evhttp_request* request, int status, const std::string& message) {
    send(request, status, dump({{"error", message}}));
}

}  // namespace inferd
