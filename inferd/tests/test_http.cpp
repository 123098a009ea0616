#include <doctest/doctest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "http.hpp"
#include "loop.hpp"

using namespace inferd;

namespace {

bool readable(const EventFd& event) {
    pollfd entry{event.get(), POLLIN, 0};
    return ::poll(&entry, 1, 0) == 1;
}

// Answers every request with the same body.
struct Echo {
    explicit Echo(std::string text) : body(std::move(text)) {
        evhttp_set_gencb(http.get(), answer, this);
        port = bound_port(evhttp_bind_socket_with_handle(http.get(), "127.0.0.1", 0));
    }

    static void answer(evhttp_request* request, void* context) {
        auto* self = static_cast<Echo*>(context);
        ++self->answered;
        add_header(request, "X-Kind", "echo");
        send(request, 200, self->body);
    }

    // All that a client hears of a request until it has had this many answers, without the date.
    std::string hear(Client& client, const std::string& said, std::size_t answers) {
        client.say(said);
        const std::string line = "HTTP/1.";
        run_until(base.get(), [&] {
            std::size_t found = 0;
            const auto& heard = client.heard();
            for (auto at = heard.find(line); at != std::string::npos; at = heard.find(line, at + 1))
                ++found;
            return found >= answers && (heard.ends_with(body) || heard.ends_with("\r\n\r\n"));
        });
        auto heard = client.heard();
        for (auto at = heard.find("Date: "); at != std::string::npos; at = heard.find("Date: "))
            heard.erase(at, heard.find("\r\n", at) + 2 - at);
        return heard;
    }

    Base base = make_loop();
    Http http{evhttp_new(base.get())};
    std::string body;
    std::uint16_t port = 0;
    std::size_t answered = 0;
};

const std::string kHead =
    "HTTP/1.1 200 OK\r\nX-Kind: echo\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";

}  // namespace

TEST_CASE("an answer has headers, date and body, and the connection stays") {
    Echo echo("{}");
    Client client(echo.port);
    const std::string asked = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    CHECK(echo.hear(client, asked, 1) == kHead + "\r\n{}");
    CHECK(client.heard().find("\r\nDate: " + date_text(std::time(nullptr)).substr(0, 16)) !=
          std::string::npos);
    CHECK(echo.hear(client, asked + asked, 3) ==
          kHead + "\r\n{}" + kHead + "\r\n{}" + kHead + "\r\n{}");
    CHECK(echo.hear(client, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", 4)
              .ends_with("{}" + kHead + "\r\n"));
    CHECK_FALSE(client.closed());
}

TEST_CASE("what the library has to say about the connection is said") {
    const auto ask = [](const std::string& asked) {
        Echo echo("{}");
        Client client(echo.port);
        return echo.hear(client, asked, 1);
    };
    CHECK(ask("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").find("Connection: close\r\n") !=
          std::string::npos);
    CHECK(ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
              .find("Connection: keep-alive\r\n") != std::string::npos);
    // Its end of an answer in parts would be more than the answer.
    CHECK(ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
              .ends_with("\r\n\r\n{}"));
}

TEST_CASE("a client that does not read holds up its answers, and loses none") {
    Echo echo(std::string(16000, 'x'));
    Client client(echo.port);
    std::string asked;
    constexpr std::size_t kRequests = 2000;
    for (std::size_t i = 0; i < kRequests; ++i) asked += "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.say(asked);
    std::size_t before = 0;
    int same = 0;
    CHECK(run_until(echo.base.get(), [&] {
        same = std::exchange(before, echo.answered) == echo.answered ? same + 1 : 0;
        return same > 20;
    }));
    CHECK(echo.answered > 0);
    CHECK(echo.answered < kRequests);
    std::size_t bodies = 0;
    CHECK(run_until(echo.base.get(), [&] {
        const auto& heard = client.heard();
        bodies = static_cast<std::size_t>(std::count(heard.begin(), heard.end(), 'x'));
        return bodies == kRequests * echo.body.size();
    }));
    CHECK(echo.answered == kRequests);
}

TEST_CASE("a date is as a header has it") {
    CHECK(date_text(0) == "Thu, 01 Jan 1970 00:00:00 GMT");
    CHECK(date_text(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
    CHECK(date_text(951827696) == "Tue, 29 Feb 2000 12:34:56 GMT");
    CHECK(date_text(2240524800) == "Mon, 31 Dec 2040 00:00:00 GMT");
}

TEST_CASE("an event is seen until it is cleared, however often it was raised") {
    const EventFd event;
    CHECK_FALSE(readable(event));
    event.raise();
    event.raise();
    CHECK(readable(event));
    event.clear();
    CHECK_FALSE(readable(event));
    event.clear();
    CHECK_FALSE(readable(event));
}

TEST_CASE("another thread wakes a loop") {
    const EventFd event;
    const Base base(event_base_new());
    bool woken = false;
    const Event watch(event_new(
        base.get(), event.get(), EV_READ,
        [](evutil_socket_t, short, void* flag) { *static_cast<bool*>(flag) = true; }, &woken));
    const timeval limit{10, 0};
    event_add(watch.get(), nullptr);
    event_base_loopexit(base.get(), &limit);
    std::thread other([&event] { event.raise(); });
    event_base_loop(base.get(), EVLOOP_ONCE);
    other.join();
    CHECK(woken);
}
