#include <doctest/doctest.h>

#include "loop.hpp"
#include "service.hpp"

namespace inferd {
namespace {

struct Setup {
    explicit Setup(const Config& config = {})
        : connections(base.get(), http.get(), {8}),
          service(config, std::make_shared<Models>(), base.get(), connections) {
        evhttp_set_gencb(
            http.get(),
            [](evhttp_request* request, void* self) {
                static_cast<Service*>(self)->handle(request);
            },
            &service);
        port = bound_port(evhttp_bind_socket_with_handle(http.get(), "127.0.0.1", 0));
    }
    ~Setup() { http.reset(); }

    // Status and body of the answer to a request.
    std::string ask(const std::string& line, const std::string& header = "") const {
        Client client(port);
        client.say(line + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + header + "\r\n");
        run_until(base.get(), [&] { return client.closed(); });
        const auto& text = client.heard();
        const auto body = text.find("\r\n\r\n");
        return body == std::string::npos ? text : text.substr(9, 3) + " " + text.substr(body + 4);
    }

    Base base{event_base_new()};
    Http http{evhttp_new(base.get())};
    Connections connections;
    Service service;
    std::uint16_t port = 0;
};

TEST_CASE("paths of a server without models") {
    const Setup setup;
    CHECK(setup.ask("GET /v2/health/live") == R"(200 {"live":true})");
    CHECK(setup.ask("GET /v2/health/ready") == R"(200 {"ready":true})");
    CHECK(setup.ask("GET /v2/models/a") == R"(404 {"error":"there is no model a"})");
    CHECK(setup.ask("GET /nothing") == R"(404 {"error":"there is nothing at this path"})");
    CHECK(setup.ask("DELETE /v2") == R"(405 {"error":"use GET"})");
    CHECK(setup.ask("GET /metrics").starts_with("200 # HELP inferd_requests_total"));
    CHECK(setup.ask("HEAD /v2/health/live") == "200 ");
}

TEST_CASE("metrics can be off") {
    Config config;
    config.metrics = false;
    const Setup setup(config);
    CHECK(setup.ask("GET /metrics") == R"(404 {"error":"there is nothing at this path"})");
}

TEST_CASE("all but health needs the token, and a reload can change it") {
    Config config;
    config.token = "0123456789abcdef";
    Setup setup(config);
    const std::string right = "Authorization: Bearer 0123456789abcdef\r\n";
    CHECK(setup.ask("GET /v2/health/live") == R"(200 {"live":true})");
    for (const auto* path : {"GET /v2", "GET /metrics", "GET /v2/models/a", "GET /nothing"}) {
        CAPTURE(path);
        CHECK(setup.ask(path).starts_with("401 "));
        CHECK_FALSE(setup.ask(path, right).starts_with("401 "));
    }
    CHECK(setup.ask("GET /v2", "Authorization: Bearer 0123456789abcdeF\r\n").starts_with("401 "));
    setup.service.replace(std::make_shared<Models>(), "another token of it");
    CHECK(setup.ask("GET /v2", right).starts_with("401 "));
    CHECK(setup.ask("GET /v2", "Authorization: Bearer another token of it\r\n").starts_with("200"));
}

TEST_CASE("a server that stops takes nothing more, and its loop ends") {
    Setup setup;
    setup.service.stop();
    CHECK(setup.ask("GET /v2") == R"(503 {"error":"the server is stopping"})");
    CHECK(setup.service.idle());
}

TEST_CASE("the largest body is at least what an empty server needs for its errors") {
    CHECK(body_limit(Models()) == 1 << 16);
}

}  // namespace
}  // namespace inferd
