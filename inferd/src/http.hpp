// The parts of libevent that the server uses, owned and shortened.
#pragma once

#include <event2/event.h>
#include <event2/http.h>

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace inferd {

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

// Wakes an event loop from another thread.
class EventFd {
  public:
    EventFd();
    EventFd(const EventFd&) = delete;
    EventFd& operator=(const EventFd&) = delete;
    ~EventFd();
    int get() const { return fd_; }
    void raise() const;
    void clear() const;

  private:
    int fd_;
};

// A loop that tells the kernel of changes only when it waits, and not of those that it took back.
Base make_loop();

// A header of the request, empty if it has none.
std::string_view header_of(evhttp_request* request, const char* name);
void add_header(evhttp_request* request, const char* name, const std::string& value);

// A path without its percent-escapes, each undone once; nothing if one is malformed or stands for a
// NUL. That of a slash stays as it is, so that it parts no segments.
std::optional<std::string> decode_path(std::string_view path);

// What is wrong with how the request tells where its body ends, nothing if all readers take it
// alike. Else a proxy may have seen another request begin where the library does (request
// smuggling; RFC 9112, 6.1 to 6.3): nothing that follows may be read.
const char* framing_problem(const evhttp_request* request);

void send(evhttp_request* request, int status, const std::string& body,
          const char* type = "application/json");
// As a header has it (RFC 9110, 5.6.7).
std::string date_text(std::time_t seconds);

}  // namespace inferd
