#include <doctest/doctest.h>
#include <event2/http.h>
#include <event2/http_struct.h>

#include <utility>
#include <vector>

#include "http.hpp"
#include "loop.hpp"

namespace inferd {
namespace {

using Headers = std::vector<std::pair<const char*, const char*>>;

const std::string kChunked = "Transfer-Encoding: chunked\r\n";
const std::string kFive = "Content-Length: 5\r\n";

std::string problem(evhttp_cmd_type type, const Headers& headers, char minor = 1) {
    const std::unique_ptr<evhttp_request, Deleter<evhttp_request_free>> request(
        evhttp_request_new(nullptr, nullptr));
    request->type = type;
    request->major = 1;
    request->minor = minor;
    for (const auto& [name, value] : headers) {
        evhttp_add_header(evhttp_request_get_input_headers(request.get()), name, value);
    }
    const char* found = framing_problem(request.get());
    return found == nullptr ? "" : found;
}

TEST_CASE("what is wrong with how a request tells its end") {
    const std::pair length("Content-Length", "5");
    const std::pair chunked("Transfer-Encoding", "chunked");
    const auto all = {EVHTTP_REQ_POST, EVHTTP_REQ_PUT, EVHTTP_REQ_GET, EVHTTP_REQ_HEAD,
                      EVHTTP_REQ_DELETE};
    for (const auto type : all) {
        CAPTURE(type);
        CHECK(problem(type, {{"Host", "a"}}).empty());
        CHECK(problem(type, {{"Content-Length", "0"}}).empty());
        CHECK(problem(type, {length, length}) == "Content-Length is doubled");
        CHECK(problem(type, {length, {"content-length", "4"}}) == "Content-Length is doubled");
        CHECK(problem(type, {chunked, chunked}) == "Transfer-Encoding is doubled");
        for (const auto& both : {Headers{chunked, length}, Headers{length, chunked}}) {
            CHECK(problem(type, both) == "both Transfer-Encoding and Content-Length are given");
        }
        for (const auto* value : {"", "+5", "-5", "5, 5", "5 5", "0x5", "5.0"}) {
            CHECK(problem(type, {{"Content-Length", value}}) == "Content-Length must be a number");
        }
        for (const auto* value :
             {"", "gzip", "gzip, chunked", "identity", " chunked", "chunked;"}) {
            CHECK(problem(type, {{"Transfer-Encoding", value}}) ==
                  "Transfer-Encoding must be chunked");
        }
        for (const auto* name : {"Content-Length ", "Transfer-Encoding\t", "X ", ""}) {
            CHECK(problem(type, {{name, "5"}}) == "a header's name ends with a space");
        }
        CHECK(problem(type, {chunked}, 0) == "HTTP/1.0 has no Transfer-Encoding");
    }
    for (const auto type : {EVHTTP_REQ_GET, EVHTTP_REQ_HEAD, EVHTTP_REQ_DELETE}) {
        CHECK(problem(type, {length}) == "a request of this method must have no body");
        CHECK(problem(type, {chunked}) == "a request of this method must have no body");
    }
    for (const auto type : {EVHTTP_REQ_POST, EVHTTP_REQ_PUT}) {
        CHECK(problem(type, {length}).empty());
        CHECK(problem(type, {length}, 0).empty());
        CHECK(problem(type, {{"transfer-encoding", "Chunked"}}).empty());
    }
}

// Answers with the problem, or with 200, as the service does.
struct Setup {
    Setup() {
        evhttp_set_gencb(
            http.get(),
            [](evhttp_request* request, void*) {
                const char* problem = framing_problem(request);
                if (problem == nullptr) return send(request, 200, "{}");
                add_header(request, "Connection", "close");
                send(request, 400, problem);
            },
            nullptr);
        port = bound_port(evhttp_bind_socket_with_handle(http.get(), "127.0.0.1", 0));
    }

    // All that comes back until the connection is closed.
    std::string hear(const std::string& text) const {
        Client client(port);
        client.say(text);
        CHECK(run_until(base.get(), [&] { return client.closed(); }));
        return client.heard();
    }

    Base base = make_loop();
    Http http{evhttp_new(base.get())};
    std::uint16_t port = 0;
};

TEST_CASE("nothing is read behind a request whose end others may see elsewhere") {
    const Setup setup;
    // Libraries with the security fixes of 2026 refuse some of these by themselves.
    for (const auto& headers :
         {kFive + kFive, kFive + "content-length: 4\r\n", kChunked + kChunked, kChunked + kFive,
          std::string("Content-Length: +5\r\n"), std::string("Content-Length\t: 5\r\n"),
          std::string("Transfer-Encoding: gzip, chunked\r\n"),
          std::string("Transfer-Encoding:\r\n chunked\r\n"),
          std::string("Transfer-Encoding : chunked\r\n")}) {
        CAPTURE(headers);
        for (const auto* line : {"POST /", "PUT /", "GET /", "DELETE /", "HEAD /"}) {
            CAPTURE(line);
            const auto text = setup.hear(line + (" HTTP/1.1\r\nHost: a\r\n" + headers) +
                                         "\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
            CHECK(text.starts_with("HTTP/1.1 400 "));
            CHECK(text.find("\r\nConnection: close\r\n") != std::string::npos);
            CHECK(text.find("HTTP/1.1 ", 1) == std::string::npos);
        }
    }
    for (const auto& headers : {kFive, kChunked}) {
        const auto text = setup.hear("GET / HTTP/1.1\r\nHost: a\r\n" + headers +
                                     "\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(text.starts_with("HTTP/1.1 400 "));
        CHECK(text.find("HTTP/1.1 ", 1) == std::string::npos);
    }
}

TEST_CASE("all that is well framed is taken") {
    const Setup setup;
    const std::string close = " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    for (const auto& text :
         {"GET /" + close + "\r\n", "GET /" + close + "Content-Length: 0\r\n\r\n",
          "DELETE /" + close + "Content-Length: 0\r\n\r\n",
          "POST /" + close + kChunked + "\r\n2\r\n{}\r\n0\r\n\r\n",
          "POST /" + close + "transfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
          "PUT /" + close + kFive + "\r\n{   }"}) {
        CAPTURE(text);
        CHECK(setup.hear(text).starts_with("HTTP/1.1 200 "));
    }
}

}  // namespace
}  // namespace inferd
