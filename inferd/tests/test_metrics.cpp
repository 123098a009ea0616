#include <doctest/doctest.h>

#include "metrics.hpp"

namespace inferd {
namespace {

using Seconds = std::chrono::duration<double>;

TEST_CASE("a histogram counts all up to each bound") {
    Histogram histogram;
    for (const double value : {0.0001, 0.0002, 0.3, 99.0}) histogram.add(Seconds(value));
    std::string text;
    histogram.write(text, "t", "m=\"x\"");
    CHECK(text.find("t_bucket{m=\"x\",le=\"0.0001\"} 1\n") != std::string::npos);
    CHECK(text.find("t_bucket{m=\"x\",le=\"0.00025\"} 2\n") != std::string::npos);
    CHECK(text.find("t_bucket{m=\"x\",le=\"0.25\"} 2\n") != std::string::npos);
    CHECK(text.find("t_bucket{m=\"x\",le=\"10\"} 3\n") != std::string::npos);
    CHECK(text.find("t_bucket{m=\"x\",le=\"+Inf\"} 4\n") != std::string::npos);
    CHECK(text.find("t_count{m=\"x\"} 4\n") != std::string::npos);
    CHECK(text.find("t_sum{m=\"x\"} 99.3003\n") != std::string::npos);
}

TEST_CASE("requests by model and status; what never ran has no inference") {
    Metrics metrics;
    metrics.count("a", 200);
    metrics.count("a", 200);
    metrics.answered("a", 504, Seconds(1), Seconds(0));
    const auto text = metrics.render(Models(), {3, 4});
    CHECK(text.find("inferd_requests_total{model=\"a\",code=\"200\"} 2\n") != std::string::npos);
    CHECK(text.find("inferd_requests_total{model=\"a\",code=\"504\"} 1\n") != std::string::npos);
    CHECK(text.find("inferd_queue_seconds_count{model=\"a\"} 1\n") != std::string::npos);
    CHECK(text.find("inferd_inference_seconds_count") == std::string::npos);
    CHECK(text.find("inferd_http_responses_total{code=\"401\"} 0\n") != std::string::npos);
    CHECK(text.find("inferd_queue_length 3\n") != std::string::npos);
    CHECK(text.find("inferd_connections 4\n") != std::string::npos);
}

TEST_CASE("whether the last reload succeeded") {
    Metrics metrics;
    const auto gauge = [&] {
        const auto text = metrics.render(Models(), {0, 0});
        const auto at = text.find("\ninferd_reload_successful ");
        return at == std::string::npos ? "none" : text.substr(at + 26, 1);
    };
    CHECK(gauge() == "1");
    metrics.reload(false);
    CHECK(gauge() == "0");
    metrics.reload(false);
    CHECK(gauge() == "0");
    metrics.reload(true);
    CHECK(gauge() == "1");
}

}  // namespace
}  // namespace inferd
