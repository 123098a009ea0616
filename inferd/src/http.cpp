#include "http.hpp"

#include <event2/buffer.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "json.hpp"

namespace inferd {

EventFd::EventFd() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

EventFd::~EventFd() { ::close(fd_); }

void EventFd::raise() const { ::eventfd_write(fd_, 1); }

void EventFd::clear() const {
    eventfd_t count = 0;
    ::eventfd_read(fd_, &count);
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
    evhttp_send_reply(request, status, nullptr, nullptr);
}

void send_error(evhttp_request* request, int status, const std::string& message) {
    send(request, status, dump({{"error", message}}));
}

}  // namespace inferd
