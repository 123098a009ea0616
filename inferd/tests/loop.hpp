// An HTTP server of the library in this process, and clients of it, for tests that need both.
#pragma once

#include <arpa/inet.h>
#include <event2/http.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "http.hpp"

namespace inferd {

// Runs the loop until the condition holds; false if it does not within five seconds.
inline bool run_until(event_base* base, const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        const timeval most{0, 10000};
        event_base_loopexit(base, &most);
        event_base_loop(base, 0);
    }
    return true;
}

inline std::uint16_t bound_port(evhttp_bound_socket* socket) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    ::getsockname(evhttp_bound_socket_get_fd(socket), reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
}

// A connection whose other end is in the same thread, so that nothing here may wait.
class Client {
  public:
    explicit Client(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client() { ::close(socket_); }

    void say(const std::string& text) const {
        ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
    }

    // All that has come so far.
    const std::string& heard() {
        char part[4096];
        for (;;) {
            const auto got = ::recv(socket_, part, sizeof part, MSG_DONTWAIT);
            if (got == 0) closed_ = true;
            if (got <= 0) return text_;
            text_.append(part, static_cast<std::size_t>(got));
        }
    }

    // The beginning of what has come and is not heard yet.
    std::string peek() const {
        char part[64];
        const auto got = ::recv(socket_, part, sizeof part, MSG_DONTWAIT | MSG_PEEK);
        return {part, static_cast<std::size_t>(got < 0 ? 0 : got)};
    }

    // How many of so many bytes have come, which are not kept; nothing once it is closed.
    std::optional<std::size_t> take(std::size_t size) const {
        std::string part(size, 0);
        const auto got = ::recv(socket_, part.data(), part.size(), MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) return std::nullopt;
        return got < 0 ? 0 : static_cast<std::size_t>(got);
    }

    bool closed() {
        heard();
        return closed_;
    }

  private:
    int socket_;
    std::string text_;
    bool closed_ = false;
};

}  // namespace inferd
