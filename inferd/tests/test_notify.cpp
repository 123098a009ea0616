#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include "notify.hpp"

using namespace inferd;

namespace {

class Variable {
  public:
    Variable(const char* name, const std::string& value) : name_(name) {
        ::setenv(name, value.c_str(), 1);
    }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;
    ~Variable() { ::unsetenv(name_); }

  private:
    const char* name_;
};

// What the service's manager has: a datagram socket with an abstract name.
class Manager {
  public:
    Manager() : fd_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path + 1, name_.data() + 1, name_.size() - 1);
        const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name_.size());
        bound_ = ::bind(fd_, reinterpret_cast<const sockaddr*>(&address), size) == 0;
    }
    Manager(const Manager&) = delete;
    Manager& operator=(const Manager&) = delete;
    ~Manager() { ::close(fd_); }

    bool bound() const { return bound_; }
    const std::string& name() const { return name_; }
    std::string heard() const {
        std::array<char, 256> text{};
        const auto got = ::recv(fd_, text.data(), text.size(), 0);
        return got < 0 ? "" : std::string(text.data(), static_cast<std::size_t>(got));
    }

  private:
    std::string name_ = "@inferd-test-" + std::to_string(::getpid());
    int fd_;
    bool bound_ = false;
};

}  // namespace

TEST_CASE("a state reaches the socket of the manager") {
    const Manager manager;
    REQUIRE(manager.bound());
    const Variable socket("NOTIFY_SOCKET", manager.name());
    notify("READY=1");
    CHECK(manager.heard() == "READY=1");
    CHECK(manager.heard().empty());
}

TEST_CASE("without a usable socket nothing is sent") {
    const Manager manager;
    REQUIRE(manager.bound());
    notify("READY=1");
    for (const auto& path : {std::string(), std::string("@"), manager.name().substr(1),
                             "@" + std::string(sizeof(sockaddr_un::sun_path), 'x')}) {
        const Variable socket("NOTIFY_SOCKET", path);
        notify("READY=1");
    }
    CHECK(manager.heard().empty());
}

TEST_CASE("the watchdog hears twice in its time") {
    CHECK_FALSE(watchdog_interval());
    const Variable limit("WATCHDOG_USEC", "3000000");
    CHECK(watchdog_interval() == std::chrono::microseconds(1500000));
    const Variable own("WATCHDOG_PID", std::to_string(::getpid()));
    CHECK(watchdog_interval() == std::chrono::microseconds(1500000));
}

TEST_CASE("the watchdog of another process is not fed") {
    const Variable limit("WATCHDOG_USEC", "3000000");
    const Variable other("WATCHDOG_PID", std::to_string(::getpid() + 1));
    CHECK_FALSE(watchdog_interval());
}

TEST_CASE("a watchdog without a time is none") {
    for (const char* text : {"", "0", "-1", "3s", "99999999999999999999"}) {
        const Variable limit("WATCHDOG_USEC", text);
        CHECK_FALSE(watchdog_interval());
    }
}

TEST_CASE("a socket counts only if it was passed to this process") {
    CHECK_FALSE(passed_socket());
    const Variable other("LISTEN_PID", std::to_string(::getpid() + 1));
    const Variable count("LISTEN_FDS", "1");
    CHECK_FALSE(passed_socket());
    const Variable own("LISTEN_PID", std::to_string(::getpid()));
    const Variable none("LISTEN_FDS", "0");
    CHECK_FALSE(passed_socket());
}
