#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "drift.hpp"
#include "fixtures.hpp"

namespace inferd {
namespace {

const std::vector<TensorSpec> kInputs = {{"x", DType::kF32, {-1, 2}}, {"t", DType::kText, {-1}}};
const std::vector<TensorSpec> kOutputs = {{"y", DType::kF32, {-1, 3}}};

DriftReference reference(const std::string& side, const std::string& tensor,
                         const std::string& statistic) {
    const auto drift =
        parse_drift(R"({"format": 1, "samples": 9, "statistics": [{"side": ")" + side +
                        R"(", "tensor": ")" + tensor + R"(", "statistic": ")" + statistic +
                        R"(", "bounds": [0.5, 1.5], "counts": [100, 100, 100]}]})",
                    kInputs, kOutputs);
    REQUIRE(drift);
    return *drift;
}

// The index after `times` requests of these tensors.
double index_after(const DriftReference& reference, int times, const std::vector<float>& x,
                   const std::vector<float>& y) {
    Drift drift(reference);
    const auto rows = static_cast<std::int64_t>(x.size() / 2);
    for (int i = 0; i < times; ++i) {
        drift.observe(kInputs, {tensor(DType::kF32, {rows, 2}, x)},
                      {tensor(DType::kF32, {rows, 3}, y)});
    }
    const auto indices = drift.indices();
    REQUIRE(indices.size() == 1);
    return indices[0];
}

TEST_CASE("the index of equal shares is 0, and grows with their difference") {
    CHECK(stability_index({10, 20, 30}, {10, 20, 30}) == doctest::Approx(0));
    // Shares 0.5 and 0.5 against 0.25 and 0.75, half a count being little here.
    CHECK(stability_index({1000000, 1000000}, {1000000, 3000000}) ==
          doctest::Approx(0.25 * std::log(3.0)).epsilon(1e-4));
    CHECK(std::isfinite(stability_index({0, 100}, {100, 0})));
    CHECK(stability_index({0, 100}, {100, 0}) > 5);
}

TEST_CASE("each statistic is counted in its bin") {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    struct Case {
        const char* side;
        const char* tensor;
        const char* statistic;
        std::vector<float> x;
        std::vector<float> y;
        std::vector<std::uint64_t> bins;
    };
    const std::vector<Case> cases = {
        {"input", "x", "mean", {0, 2}, {0, 0, 0}, {0, 300, 0}},
        {"input", "x", "mean", {0, 2, 0, 0, 4, 4}, {0, 0, 0, 0, 0, 0, 0, 0, 0}, {300, 300, 300}},
        {"input", "x", "mean", {kNan, 2}, {0, 0, 0}, {0, 0, 300}},
        {"input", "x", "deviation", {1, 3}, {0, 0, 0}, {0, 300, 0}},
        {"input", "x", "deviation", {7, 7}, {0, 0, 0}, {300, 0, 0}},
        {"input", "x", "values", {0.5, 1.5}, {0, 0, 0}, {300, 300, 0}},
        {"output", "y", "top", {0, 0}, {0, 9, 1}, {0, 0, 300}},
        {"output", "y", "choice", {0, 0}, {0, 9, 1}, {0, 300, 0}},
        {"output", "y", "choice", {0, 0}, {kNan, 1, 5}, {0, 0, 300}},
        {"output", "y", "choice", {0, 0}, {3, 3, 3}, {300, 0, 0}},
    };
    for (const auto& each : cases) {
        CAPTURE(each.statistic);
        const auto given = reference(each.side, each.tensor, each.statistic);
        CHECK(index_after(given, 300, each.x, each.y) ==
              doctest::Approx(stability_index(given[0].counts, each.bins)));
    }
}

TEST_CASE("of a large tensor at most 1024 elements are looked at") {
    const std::vector<TensorSpec> specs = {{"x", DType::kU8, {1, 2050}}};
    const auto drift = parse_drift(
        R"({"format": 1, "samples": 9, "statistics": [{"side": "input", "tensor": "x",
            "statistic": "values", "bounds": [0.5], "counts": [1, 1]}]})",
        specs, kOutputs);
    REQUIRE(drift);
    Drift streaming(*drift);
    std::vector<std::uint8_t> values(2050, 1);
    for (std::size_t i = 0; i < values.size(); i += 3) values[i] = 0;
    for (int i = 0; i < 300; ++i) {
        streaming.observe(specs, {tensor(DType::kU8, {1, 2050}, values)}, {});
    }
    // Every third, so all that are looked at are 0.
    CHECK(streaming.indices()[0] == doctest::Approx(stability_index({1, 1}, {684 * 300, 0})));
}

TEST_CASE("too few samples have no index, and old ones are forgotten") {
    Drift drift(reference("input", "x", "mean"));
    const auto ask = [&](float value, std::size_t times) {
        for (std::size_t i = 0; i < times; ++i) {
            drift.observe(kInputs, {tensor<float>(DType::kF32, {1, 2}, {value, value})},
                          {tensor<float>(DType::kF32, {1, 3}, {0, 0, 0})});
        }
    };
    ask(0, Drift::kLeast - 1);
    CHECK(drift.indices().empty());
    ask(0, 1);
    CHECK(drift.indices().size() == 1);
    CHECK(drift.samples() == Drift::kLeast);
    ask(0, 5000);
    ask(1, 2 * Drift::kWindow);
    CHECK(drift.samples() < 2 * Drift::kWindow);
    CHECK(drift.samples() >= Drift::kWindow);
    const auto old = stability_index({100, 100, 100}, {0, drift.samples(), 0});
    ask(1, Drift::kWindow);
    CHECK(drift.indices()[0] == doctest::Approx(old).epsilon(0.01));
}

TEST_CASE("what cannot be divided among the samples is not measured") {
    Drift drift(reference("output", "y", "mean"));
    for (int i = 0; i < 300; ++i) {
        drift.observe(kInputs, {tensor<float>(DType::kF32, {2, 2}, {0, 0, 0, 0})},
                      {tensor<float>(DType::kF32, {1, 3}, {9, 9, 9})});
    }
    CHECK(drift.samples() == 600);
    REQUIRE(drift.indices().size() == 1);
    CHECK(std::isnan(drift.indices()[0]));
    const auto ask = [&](int times) {
        for (int i = 0; i < times; ++i) {
            drift.observe(kInputs, {tensor<float>(DType::kF32, {1, 2}, {0, 0})},
                          {tensor<float>(DType::kF32, {1, 3}, {9, 9, 9})});
        }
    };
    ask(Drift::kLeast - 1);
    CHECK(std::isnan(drift.indices()[0]));
    ask(1);
    CHECK(drift.indices()[0] ==
          doctest::Approx(stability_index({100, 100, 100}, {0, 0, Drift::kLeast})));
    ask(Drift::kWindow);
    CHECK(std::isfinite(drift.indices()[0]));
}

TEST_CASE("text has no histogram, and nobody else's tensors have") {
    for (const auto* name : {"t", "z"}) {
        const auto drift =
            parse_drift(std::string(R"({"format": 1, "samples": 9, "statistics": [{"side": "input",
                "tensor": ")") +
                            name + R"(", "statistic": "mean", "bounds": [1],
                "counts": [1, 1]}]})",
                        kInputs, kOutputs);
        REQUIRE_FALSE(drift);
        CHECK(drift.error().code == "drift-mismatch");
    }
}

}  // namespace
}  // namespace inferd
