#include "notify.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace inferd {
namespace {

constexpr int kFirstPassed = 3;

std::optional<std::int64_t> number_in(const char* variable) {
    const char* text = std::getenv(variable);
    if (text == nullptr) return std::nullopt;
    const std::string_view view(text);
    std::int64_t number = 0;
    const auto [end, failed] = std::from_chars(view.begin(), view.end(), number);
    if (failed != std::errc() || end != view.end()) return std::nullopt;
    return number;
}

}  // namespace

void notify(const std::string& state) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    sockaddr_un address{};
    const auto length = path == nullptr ? 0 : std::strlen(path);
    if (length < 2 || length >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path, length);
    if (path[0] == '@') address.sun_path[0] = '\0';
    const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket < 0) return;
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
    ::sendto(socket, state.data(), state.size(), MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&address), size);
    ::close(socket);
}

std::optional<std::chrono::microseconds> watchdog_interval() {
    const auto limit = number_in("WATCHDOG_USEC");
    const auto process = number_in("WATCHDOG_PID");
    if (!limit || *limit <= 0 || process.value_or(::getpid()) != ::getpid()) return std::nullopt;
    return std::chrono::microseconds(*limit / 2);
}

std::optional<int> passed_socket() {
    if (number_in("LISTEN_PID") != ::getpid()) return std::nullopt;
    if (number_in("LISTEN_FDS").value_or(0) < 1) return std::nullopt;
    ::fcntl(kFirstPassed, F_SETFD, FD_CLOEXEC);
    ::fcntl(kFirstPassed, F_SETFL, ::fcntl(kFirstPassed, F_GETFL) | O_NONBLOCK);
    return kFirstPassed;
}

}  // namespace inferd
