#include <doctest/doctest.h>

#include <csignal>
#include <vector>

#include "connections.hpp"
#include "loop.hpp"

namespace inferd {
namespace {

using std::chrono::milliseconds;

struct Setup {
    explicit Setup(ConnectionLimits limits) : connections(base.get(), http.get(), limits) {
        evhttp_set_gencb(http.get(), answer, this);
        auto* socket = evhttp_bind_socket_with_handle(http.get(), "127.0.0.1", 0);
        port = bound_port(socket);
        connections.guard(evhttp_bound_socket_get_listener(socket));
    }
    ~Setup() { http.reset(); }

    static void answer(evhttp_request* request, void* context) {
        auto* self = static_cast<Setup*>(context);
        self->connections.end(request);
        if (self->waits) {
            self->connections.begin(request);
            self->waiting = request;
        } else {
            self->connections.answering([&] { send(request, 200, self->body); });
        }
    }

    bool until(const std::function<bool()>& condition) const {
        return run_until(base.get(), condition);
    }

    Base base{event_base_new()};
    Http http{evhttp_new(base.get())};
    Connections connections;
    std::uint16_t port = 0;
    std::string body = "{}";
    bool waits = false;
    evhttp_request* waiting = nullptr;
};

constexpr const char* kRequest = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_CASE("connections are counted while they are open") {
    Setup setup({8, 1 << 20, milliseconds(5000), milliseconds(50)});
    {
        const Client one(setup.port);
        const Client other(setup.port);
        CHECK(setup.until([&] { return setup.connections.size() == 2; }));
    }
    CHECK(setup.until([&] { return setup.connections.size() == 0; }));
}

TEST_CASE("no more are accepted than may be open, and the next when one goes") {
    Setup setup({1, 1 << 20, milliseconds(5000), milliseconds(50)});
    auto first = std::make_unique<Client>(setup.port);
    CHECK(setup.until([&] { return setup.connections.size() == 1; }));
    Client second(setup.port);
    second.say(kRequest);
    first->say(kRequest);
    CHECK(setup.until([&] { return first->heard().starts_with("HTTP/1.1 200"); }));
    CHECK(second.heard().empty());
    first.reset();
    CHECK(setup.until([&] { return second.heard().starts_with("HTTP/1.1 200"); }));
}

TEST_CASE("who sent most is refused when unfinished requests hold too many bytes") {
    Setup setup({8, 100000, milliseconds(5000), milliseconds(200)});
    const auto begin = [](std::size_t size, std::size_t sent) {
        return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(size) +
               "\r\n\r\n" + std::string(sent, 'x');
    };
    const std::string chunk = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nea60\r\n";
    for (const auto& large : {begin(90000, 60000), chunk + std::string(60000, 'x')}) {
        Client most(setup.port);
        Client less(setup.port);
        most.say(large);
        less.say(begin(50000, 30000));
        std::vector<int> refusals;
        setup.connections.each_refusal([&](int status) { refusals.push_back(status); });
        const auto soon = std::chrono::steady_clock::now() + milliseconds(50);
        setup.until([&] { return std::chrono::steady_clock::now() > soon; });
        CHECK(most.heard().empty());
        less.say(std::string(15000, 'x'));
        CHECK(setup.until([&] { return most.closed(); }));
        CHECK(most.heard().starts_with("HTTP/1.1 503 "));
        CHECK(refusals == std::vector{503});
        CHECK(most.heard().ends_with(
            "\r\n\r\n{\"error\":\"too many unfinished requests hold the memory\"}"));
        most.say(std::string(5000, 'x'));
        less.say(std::string(5000, 'x'));
        CHECK(setup.until([&] { return less.heard().starts_with("HTTP/1.1 200 "); }));
        // What is finished or refused holds nothing.
        less.say(begin(80000, 80000));
        CHECK(setup.until([&] { return less.heard().find("200 OK", 20) != std::string::npos; }));
    }
    CHECK(setup.until([&] { return setup.connections.size() == 0; }));
}

TEST_CASE("the largest body changes on open connections too") {
    Setup setup({8, 1 << 20, milliseconds(5000), milliseconds(50)});
    const auto post = [](std::size_t size) {
        return "POST / HTTP/1.1\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n" +
               std::string(size, 'x');
    };
    setup.connections.bodies_at_most(100);
    Client silent(setup.port);
    Client used(setup.port);
    used.say(post(100));
    CHECK(setup.until([&] { return used.heard().starts_with("HTTP/1.1 200 "); }));
    CHECK(setup.connections.size() == 2);
    setup.connections.bodies_at_most(2000);
    Client later(setup.port);
    for (auto* client : {&silent, &used, &later}) {
        const auto before = client->heard().size();
        client->say(post(2000));
        CHECK(setup.until([&] { return client->heard().size() > before; }));
        CHECK(client->heard().substr(before).starts_with("HTTP/1.1 200 "));
    }
    std::vector<int> refusals;
    setup.connections.each_refusal([&](int status) { refusals.push_back(status); });
    used.say(post(100));
    setup.connections.bodies_at_most(100);
    used.say(post(101));
    CHECK(setup.until([&] { return used.closed(); }));
    CHECK(used.heard().find("HTTP/1.1 413 ") != std::string::npos);
    CHECK(refusals == std::vector{413});
}

TEST_CASE("who is refused while its last answer leaves gets nothing else in it") {
    Setup setup({8, 100000, milliseconds(5000), milliseconds(200)});
    setup.body = std::string(32 << 20, 'x');
    Client client(setup.port);
    client.say(kRequest);
    CHECK(setup.until([&] { return setup.connections.unsent() > 0; }));
    const std::string next = std::string("POST / HTTP/1.1\r\nContent-Length: 900000\r\n\r\n");
    client.say(next + std::string(200000, 'y'));
    CHECK(setup.until([&] { return client.closed(); }));
    CHECK(client.heard().size() < setup.body.size());
    CHECK(client.heard().find("503") == std::string::npos);
}

TEST_CASE("who does not complete a request is closed") {
    Setup setup({8, 1 << 20, milliseconds(200), milliseconds(50)});
    Client silent(setup.port);
    Client half(setup.port);
    half.say("GET / HTTP/1.1\r\nHost:");
    CHECK(setup.until([&] { return silent.closed() && half.closed(); }));
    CHECK(setup.until([&] { return setup.connections.size() == 0; }));
}

TEST_CASE("who is silent is closed, and not who goes on") {
    Setup setup({8, 1 << 20, milliseconds(5000), milliseconds(50), milliseconds(300)});
    Client half(setup.port);
    half.say("GET / HTTP/1.1\r\nHost:");
    Client slow(setup.port);
    slow.say("GET / HTTP/1.1\r\n");
    const auto begin = std::chrono::steady_clock::now();
    CHECK(setup.until([&] {
        slow.say("a: b\r\n");
        return half.closed();
    }));
    CHECK(std::chrono::steady_clock::now() - begin >= milliseconds(300));
    slow.say("\r\n");
    CHECK(setup.until([&] { return slow.heard().starts_with("HTTP/1.1 200"); }));
    // It asks nothing more.
    CHECK(setup.until([&] { return slow.closed(); }));
}

TEST_CASE("who takes nothing of its answer is closed") {
    std::signal(SIGPIPE, SIG_IGN);  // as the server does
    Setup setup({8, 1 << 20, milliseconds(5000), milliseconds(50), milliseconds(300)});
    setup.body = std::string(32 << 20, 'x');
    Client client(setup.port);
    client.say(kRequest);
    CHECK(setup.until([&] { return setup.connections.size() == 1; }));
    CHECK(setup.until([&] { return setup.connections.size() == 0; }));
    CHECK(client.heard().size() < setup.body.size());
}

TEST_CASE("who takes its answer steadily gets all of it, and who takes it too slowly does not") {
    std::signal(SIGPIPE, SIG_IGN);  // as the server does
    for (const bool steady : {true, false}) {
        CAPTURE(steady);
        Setup setup({8, 1 << 20, milliseconds(1000), milliseconds(50), milliseconds(5000),
                     steady ? std::size_t{1} << 20 : std::size_t{1} << 30});
        setup.body = std::string(48 << 20, 'x');
        Client client(setup.port);
        client.say(kRequest);
        auto next = std::chrono::steady_clock::now();
        std::size_t taken = 0;
        CHECK(setup.until([&] {
            // A MiB each 50 ms, while the system may hold ten of them.
            if (std::chrono::steady_clock::now() < next) return false;
            next = std::chrono::steady_clock::now() + milliseconds(50);
            const auto got = client.take(1 << 20);
            taken += got.value_or(0);
            return !got || taken > setup.body.size();
        }));
        CHECK((taken > setup.body.size()) == steady);
    }
}

TEST_CASE("who waits for the server is not closed") {
    Setup setup({8, 1 << 20, milliseconds(100), milliseconds(50), milliseconds(100)});
    setup.waits = true;
    Client client(setup.port);
    client.say(kRequest);
    CHECK(setup.until([&] { return setup.waiting != nullptr; }));
    const auto late = std::chrono::steady_clock::now() + milliseconds(500);
    CHECK(setup.until([&] { return std::chrono::steady_clock::now() > late; }));
    CHECK_FALSE(client.closed());
    setup.connections.end(setup.waiting);
    send(setup.waiting, 200, "{}");
    CHECK(setup.until([&] { return client.heard().starts_with("HTTP/1.1 200"); }));
}

}  // namespace
}  // namespace inferd
