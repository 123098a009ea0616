#include <doctest/doctest.h>

#include <thread>

#include "fixtures.hpp"
#include "loop.hpp"
#include "service.hpp"

namespace inferd {
namespace {

// A model that takes as long as it is told, gives its input back and notes its thread.
class Timed final : public Session {
  public:
    Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) override {
        thread = std::this_thread::get_id();
        std::this_thread::sleep_for(takes);
        if (fails) return Error{"", "the model broke"};
        if (grows > 0) return std::vector{tensor(DType::kF32, {1}, std::vector<float>(grows))};
        return inputs;
    }
    std::string provider() const override { return "Timed"; }

    std::chrono::milliseconds takes{0};
    bool fails = false;
    std::size_t grows = 0;  // elements of its answer instead
    std::thread::id thread;
};

class NoBackend final : public Backend {
  public:
    std::string name() const override { return "none"; }
    std::string version() const override { return "1"; }
    Result<std::unique_ptr<Session>> load(const Bundle&, const SessionOptions&) override {
        return Error{"", "it loads nothing"};
    }
};

std::shared_ptr<Models> serve_only(std::unique_ptr<Session> session) {
    static const NoBackend kBackend;
    auto models = std::make_shared<Models>();
    Bundle bundle{};
    bundle.description.name = "timed";
    bundle.description.inputs = {{"x", DType::kF32, {-1}}};
    bundle.description.outputs = bundle.description.inputs;
    models->add(
        std::unique_ptr<Model>(new Model{std::move(bundle), &kBackend, std::move(session)}));
    return models;
}

struct Setup {
    explicit Setup(const Config& config = {},
                   std::shared_ptr<Models> models = std::make_shared<Models>())
        : connections(base.get(), http.get(), {8}),
          service(config, std::move(models), base.get(), connections) {
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
    std::string ask(const std::string& line, const std::string& header = "",
                    const std::string& content = "") const {
        Client client(port);
        client.say(line + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + header + "\r\n" +
                   content);
        run_until(base.get(), [&] { return client.closed(); });
        const auto& text = client.heard();
        const auto body = text.find("\r\n\r\n");
        return body == std::string::npos ? text : text.substr(9, 3) + " " + text.substr(body + 4);
    }

    std::string infer(const std::string& data, std::size_t rows) const {
        const auto body = R"({"inputs": [{"name": "x", "datatype": "FP32", "shape": [)" +
                          std::to_string(rows) + R"(], "data": )" + data + "}]}";
        return ask("POST /v2/models/timed/infer",
                   "Content-Length: " + std::to_string(body.size()) + "\r\n", body);
    }

    Base base{make_loop()};
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
    CHECK(setup.ask("HEAD /metrics") == "200 ");
    CHECK(setup.ask("POST /metrics") == R"(405 {"error":"use GET"})");
}

TEST_CASE("a body in the coding identity is one in none") {
    Setup setup({}, serve_only(std::make_unique<Timed>()));
    const std::string body =
        R"({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]})";
    const auto ask = [&](const std::string& coding) {
        return setup.ask("POST /v2/models/timed/infer",
                         "Content-Length: " + std::to_string(body.size()) +
                             "\r\nContent-Encoding: " + coding + "\r\n",
                         body);
    };
    CHECK(ask("identity").starts_with("200 "));
    CHECK(ask("Identity").starts_with("200 "));
    CHECK(ask("IDENTITY").starts_with("200 "));
    CHECK(ask("identity, gzip").starts_with("415 "));
    CHECK(ask("gzip").starts_with("415 "));
}

TEST_CASE("paths may be percent-encoded") {
    const Setup setup({}, serve_only(std::make_unique<Timed>()));
    const std::string model = setup.ask("GET /v2/models/timed");
    CHECK(model.starts_with("200 "));
    for (const auto* path : {"/v2/models/%74imed", "/v2/models/%74%69%6d%65%64",
                             "/%76%32/models/time%64", "/v2/models/time%64?a=%zz"}) {
        CAPTURE(path);
        CHECK(setup.ask("GET " + std::string(path)) == model);
    }
    CHECK(setup.ask("GET /v2/health%2Flive").starts_with("404 "));
    CHECK(setup.ask("GET /v2/models/timed%2fready") ==
          R"(404 {"error":"there is no model timed%2fready"})");
    // Once, and no more.
    CHECK(setup.ask("GET /v2/models/%2574imed") == R"(404 {"error":"there is no model %74imed"})");
    for (const auto* path : {"/v2/models/%", "/v2/models/timed%6", "/v2/models/%zz",
                             "/v2/health/live%00", "/v2/models/%-1", "/%4%31"}) {
        CAPTURE(path);
        CHECK(setup.ask("GET " + std::string(path)) ==
              R"(400 {"error":"the path has a wrong percent-escape"})");
    }
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
    CHECK(setup.ask("GET /v2", "Authorization: bearer 0123456789abcdef\r\n").starts_with("200 "));
    for (const std::string wrong :
         {"Bearer 0123456789abcdeF", "Bearer", "Bearer ", "Basic 0123456789abcdef"}) {
        CHECK(setup.ask("GET /v2", "Authorization: " + wrong + "\r\n").starts_with("401 "));
    }
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

TEST_CASE("a server that stops sends its last answers to their end") {
    auto session = std::make_unique<Timed>();
    auto& timed = *session;
    timed.grows = 8 << 20;
    Setup setup({}, serve_only(std::move(session)));
    Client client(setup.port);
    const std::string body =
        R"({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}],)"
        R"("parameters": {"binary_data_output": true}})";
    client.say("POST /v2/models/timed/infer HTTP/1.1\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n" + body);
    REQUIRE(run_until(setup.base.get(), [&] { return setup.connections.unsent() > 0; }));
    setup.service.stop();
    // Whether the loop ends before so long; its clock is a coarse one.
    const auto loop = [&](int milliseconds) {
        const timeval most{0, 1000 * milliseconds};
        const auto begin = Clock::now();
        event_base_loopexit(setup.base.get(), &most);
        event_base_loop(setup.base.get(), 0);
        return Clock::now() - begin < std::chrono::milliseconds(milliseconds * 3 / 4);
    };
    CHECK_FALSE(loop(300));
    std::size_t taken = 0;
    const auto take_all = [&] {
        while (const auto got = client.take(1 << 20)) {
            taken += *got;
            if (*got == 0) break;
        }
        return taken > (32 << 20);
    };
    bool ended = false;
    for (int i = 0; i < 20 && !ended; ++i) {
        take_all();
        ended = loop(900);
    }
    CHECK(ended);
    CHECK(run_until(setup.base.get(), take_all));
}

TEST_CASE("answers that nobody takes are bounded in all") {
    auto session = std::make_unique<Timed>();
    session->grows = 10 << 20;
    Setup setup({}, serve_only(std::move(session)));
    const std::string body =
        R"({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}],)"
        R"("parameters": {"binary_data_output": true}})";
    std::vector<std::unique_ptr<Client>> clients;
    std::size_t refused = 0;
    for (int i = 0; i < 4; ++i) {
        auto& client = *clients.emplace_back(std::make_unique<Client>(setup.port));
        client.say("POST /v2/models/timed/infer HTTP/1.1\r\nContent-Length: " +
                   std::to_string(body.size()) + "\r\n\r\n" + body);
        const auto before = setup.connections.unsent();
        CHECK(run_until(setup.base.get(), [&] {
            return setup.connections.unsent() > before || client.peek().starts_with("HTTP/1.1 503");
        }));
        if (client.peek().starts_with("HTTP/1.1 503")) ++refused;
    }
    CHECK(refused > 0);
    CHECK(refused < 4);
    CHECK(setup.connections.unsent() <= (64 << 20));
    clients.clear();
    const auto metrics = setup.ask("GET /metrics");
    CHECK(metrics.find("inferd_requests_total{model=\"timed\",code=\"503\"} " +
                       std::to_string(refused)) != std::string::npos);
}

TEST_CASE("the metrics have the drift of what was measured, and of nothing else") {
    for (const std::size_t grows : {0, 1}) {
        CAPTURE(grows);
        auto session = std::make_unique<Timed>();
        session->grows = grows;
        auto models = serve_only(std::move(session));
        auto& bundle = models->all()[0]->bundle;
        const auto drift = parse_drift(
            R"({"format": 1, "samples": 9, "statistics": [{"side": "output", "tensor": "x",
                "statistic": "mean", "bounds": [0.5], "counts": [9, 0]}]})",
            bundle.description.inputs, bundle.description.outputs);
        REQUIRE(drift);
        bundle.drift = *drift;
        const Setup setup({}, models);
        std::string data = "[0";
        for (std::size_t i = 1; i < Drift::kLeast; ++i) data += ",0";
        CHECK(setup.infer(data + "]", Drift::kLeast).starts_with("200 "));
        const auto metrics = setup.ask("GET /metrics");
        CHECK(metrics.find("\ninferd_drift_samples{model=\"timed\"} 300\n") != std::string::npos);
        for (const auto* name : {"\ninferd_drift_psi{", "\ninferd_drift_statistic_psi{"}) {
            CHECK((metrics.find(name) != std::string::npos) == (grows == 0));
        }
    }
}

TEST_CASE("a quick model runs in the thread of the loop once it has been measured") {
    auto session = std::make_unique<Timed>();
    auto& timed = *session;
    const Setup setup({}, serve_only(std::move(session)));
    const auto here = std::this_thread::get_id();
    CHECK(setup.infer("[0.5]", 1).starts_with("200 "));
    CHECK(timed.thread != here);
    int good = 1;
    // A busy machine can make a run look slow.
    for (; good < 100 && timed.thread != here; ++good) {
        CHECK(setup.infer("[0.5]", 1).find(R"("data":[0.5])") != std::string::npos);
    }
    CHECK(timed.thread == here);
    // Its answers and failures are counted as the others are.
    timed.fails = true;
    CHECK(setup.infer("[0.5]", 1) == R"(500 {"error":"the model broke"})");
    const auto metrics = setup.ask("GET /metrics");
    for (const auto& line :
         {"inferd_requests_total{model=\"timed\",code=\"200\"} " + std::to_string(good) + "\n",
          std::string("inferd_requests_total{model=\"timed\",code=\"500\"} 1\n"),
          "inferd_inference_seconds_count{model=\"timed\"} " + std::to_string(good + 1) + "\n"}) {
        CAPTURE(line);
        CHECK(metrics.find(line) != std::string::npos);
    }
}

TEST_CASE("a model that is slow, or becomes so, runs beside the loop") {
    auto session = std::make_unique<Timed>();
    auto& timed = *session;
    const Setup setup({}, serve_only(std::move(session)));
    const auto here = std::this_thread::get_id();
    timed.takes = std::chrono::milliseconds(5);
    for (int i = 0; i < 2; ++i) {
        CHECK(setup.infer("[1]", 1).starts_with("200 "));
        CHECK(timed.thread != here);
    }
    timed.takes = {};
    for (int i = 0; i < 100 && timed.thread != here; ++i) setup.infer("[1]", 1);
    CHECK(timed.thread == here);
    timed.takes = std::chrono::milliseconds(5);
    CHECK(setup.infer("[1]", 1).starts_with("200 "));  // nobody could know
    timed.thread = {};
    CHECK(setup.infer("[1]", 1).starts_with("200 "));
    CHECK(timed.thread != here);
}

TEST_CASE("a request that waits keeps nothing of its text") {
    auto session = std::make_unique<Timed>();
    session->takes = std::chrono::milliseconds(100);
    Setup setup({}, serve_only(std::move(session)));
    struct Seen {
        Service& service;
        std::size_t before = 0;
        std::size_t after = 0;
    } seen{setup.service};
    evhttp_set_gencb(
        setup.http.get(),
        [](evhttp_request* request, void* context) {
            auto& found = *static_cast<Seen*>(context);
            auto* input = evhttp_request_get_input_buffer(request);
            found.before = evbuffer_get_length(input);
            found.service.handle(request);
            found.after = evbuffer_get_length(input);
        },
        &seen);
    CHECK(setup.infer("[1" + std::string(20000, ' ') + "]", 1).starts_with("200 "));
    CHECK(seen.before > 20000);
    CHECK(seen.after == 0);
}

TEST_CASE("the largest body is at least what an empty server needs for its errors") {
    CHECK(body_limit(Models()) == 1 << 16);
}

}  // namespace
}  // namespace inferd
