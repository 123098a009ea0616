#include "http.hpp"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

namespace inferd {
namespace {

constexpr std::size_t kSmall = 16 << 10;
constexpr std::size_t kUsual = 256;  // bytes of the headers of an answer

// Whether the library would add nothing but the date to the headers of an answer of status 200.
bool needs_nothing_more(const evhttp_request& request) {
    const auto wish = evhttp_find_header(request.input_headers, "Connection");
    return request.major == 1 && request.minor == 1 && request.chunked == 0 &&
           (request.flags & EVHTTP_PROXY_REQUEST) == 0 &&
           (wish == nullptr || evutil_ascii_strcasecmp(wish, "keep-alive") == 0);
}

std::string head_of(const evhttp_request& request, std::size_t size, const char* type) {
    std::string text = "HTTP/1.1 200 OK\r\n";
    text.reserve(kUsual);
    for (const auto* each = request.output_headers->tqh_first; each != nullptr;
         each = each->next.tqe_next) {
        text.append(each->key).append(": ").append(each->value).append("\r\n");
    }
    text.append("Content-Type: ").append(type);
    text.append("\r\nContent-Length: ").append(std::to_string(size));
    text.append("\r\nDate: ").append(date_text(std::time(nullptr)));
    return text.append("\r\n\r\n");
}

// Answers with one system call, and with headers that nobody formats twice; false if this is for
// the library. Its own way costs as much as the rest of a small request.
bool send_small(evhttp_request* request, const std::string& body, const char* type) {
    evhttp_connection* connection = evhttp_request_get_connection(request);
    if (connection == nullptr || body.size() > kSmall || !needs_nothing_more(*request)) {
        return false;
    }
    bufferevent* stream = evhttp_connection_get_bufferevent(connection);
    evbuffer* output = bufferevent_get_output(stream);
    if (evbuffer_get_length(output) != 0) return false;
    std::string head = head_of(*request, body.size(), type);
    const bool whole = evhttp_request_get_command(request) != EVHTTP_REQ_HEAD;
    std::array<iovec, 2> parts = {
        {{head.data(), head.size()}, {const_cast<char*>(body.data()), whole ? body.size() : 0}}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const auto sent = ::sendmsg(bufferevent_getfd(stream), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    // What is left, and errors, are the library's.
    auto skip = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
    for (const auto& part : parts) {
        const auto gone = std::min(skip, part.iov_len);
        evbuffer_add(output, static_cast<const char*>(part.iov_base) + gone, part.iov_len - gone);
        skip -= gone;
    }
    // The library takes it for the end of an answer in parts, of which nobody need have told it;
    // it is over once all is sent, maybe now, and the request is gone then.
    const bool rest = evbuffer_get_length(output) != 0;
    evhttp_send_reply_end(request);
    if (rest) bufferevent_enable(stream, EV_WRITE);
    return true;
}

bool same_name(std::string_view name, std::string_view other) {
    return name.size() == other.size() &&
           evutil_ascii_strncasecmp(name.data(), other.data(), other.size()) == 0;
}

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

// The library's function makes a slash of %2F, and lets malformed escapes pass.
std::optional<std::string> decode_path(std::string_view path) {
    std::string decoded;
    decoded.reserve(path.size());
    while (!path.empty()) {
        if (path[0] != '%') {
            decoded += path[0];
            path.remove_prefix(1);
            continue;
        }
        const auto digits = path.substr(1, 2);
        unsigned char byte = 0;
        const auto [end, failed] = std::from_chars(digits.begin(), digits.end(), byte, 16);
        if (digits.size() != 2 || failed != std::errc() || end != digits.end() || byte == 0) {
            return std::nullopt;
        }
        if (byte == '/') {
            decoded += path.substr(0, 3);
        } else {
            decoded += static_cast<char>(byte);
        }
        path.remove_prefix(3);
    }
    return decoded;
}

void send(evhttp_request* request, int status, const std::string& body, const char* type) {
    if (status == 200 && send_small(request, body, type)) return;
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

const char* framing_problem(const evhttp_request* request) {
    const char* length = nullptr;
    const char* coding = nullptr;
    for (const auto* each = request->input_headers->tqh_first; each != nullptr;
         each = each->next.tqe_next) {
        const std::string_view name(each->key);
        // The library takes it for another header, others for the same.
        if (name.empty() || name.back() <= ' ') return "a header's name ends with a space";
        if (same_name(name, "Content-Length")) {
            if (std::exchange(length, each->value) != nullptr) return "Content-Length is doubled";
        } else if (same_name(name, "Transfer-Encoding")) {
            if (std::exchange(coding, each->value) != nullptr) {
                return "Transfer-Encoding is doubled";
            }
        }
    }
    if (length == nullptr && coding == nullptr) return nullptr;
    const std::string_view size(length == nullptr ? "0" : length);
    if (size.empty() || size.find_first_not_of("0123456789") != std::string_view::npos) {
        return "Content-Length must be a number";
    }
    if (coding != nullptr) {
        if (length != nullptr) return "both Transfer-Encoding and Content-Length are given";
        if (evutil_ascii_strcasecmp(coding, "chunked") != 0) {
            return "Transfer-Encoding must be chunked";
        }
        if (request->major == 1 && request->minor == 0) return "HTTP/1.0 has no Transfer-Encoding";
    }
    // Of other methods the library reads none, and takes it for the next request.
    if (request->type == EVHTTP_REQ_POST || request->type == EVHTTP_REQ_PUT) return nullptr;
    const bool empty = coding == nullptr && size.find_first_not_of('0') == std::string_view::npos;
    return empty ? nullptr : "a request of this method must have no body";
}

std::string date_text(std::time_t seconds) {
    constexpr std::string_view kDays = "SunMonTueWedThuFriSat";
    constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
    const auto day = std::chrono::floor<std::chrono::days>(time);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(time - day);
    std::string text = "Sun, 00 Jan 0000 00:00:00 GMT";
    const auto put = [&text](std::size_t at, auto value) {
        const auto number = static_cast<unsigned>(value);
        text[at] = static_cast<char>('0' + number / 10 % 10);
        text[at + 1] = static_cast<char>('0' + number % 10);
    };
    const auto year = static_cast<int>(date.year());
    kDays.copy(&text[0], 3, 3 * std::chrono::weekday(day).c_encoding());
    put(5, static_cast<unsigned>(date.day()));
    kMonths.copy(&text[8], 3, 3 * (static_cast<unsigned>(date.month()) - 1));
    put(12, year / 100);
    put(14, year);
    put(17, clock.hours().count());
    put(20, clock.minutes().count());
    put(23, clock.seconds().count());
    return text;
}

}  // namespace inferd
