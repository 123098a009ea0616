// What a monitoring system asks: counters and histograms in Prometheus' text format 0.0.4.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <map>
#include <optional>
#include <string>

#include "drift.hpp"
#include "models.hpp"

namespace inferd {

// Counts of durations, by their upper bounds in seconds.
class Histogram {
  public:
    static constexpr std::array<double, 16> kBounds = {
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
        0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
    void add(std::chrono::duration<double> value);
    // Appends the lines of a histogram whose labels are `labels`.
    void write(std::string& text, const std::string& name, const std::string& labels) const;

  private:
    std::array<std::uint64_t, kBounds.size() + 1> counts_{};
    double sum_ = 0;
};

// What is known only to the server at the time of asking.
struct Gauges {
    std::size_t queue;
    std::size_t connections;
};

// Belongs to the thread of the event loop.
class Metrics {
  public:
    // Any answer over HTTP.
    void response(int status) { ++responses_[status]; }
    // An infer request that was refused.
    void count(const std::string& model, int status) { ++models_[model].requests[status]; }
    // One that waited and, where it came to that, ran.
    void answered(const std::string& model, int status, std::chrono::duration<double> waited,
                  std::chrono::duration<double> ran);
    // Takes in what was asked and answered, where the model's bundle has reference histograms.
    void observe(const Model& model, const std::vector<Tensor>& inputs,
                 const std::vector<Tensor>& outputs);
    // Forgets the histograms of bundles that are not served any more.
    void keep_drift_of(const Models& models);
    void reload(bool good) {
        ++reloads_[good ? "success" : "failure"];
        reloaded_ = good;
    }

    std::string render(const Models& models, const Gauges& gauges) const;

  private:
    struct OfModel {
        std::map<int, std::uint64_t> requests;  // by their status
        std::optional<Histogram> queue;
        std::optional<Histogram> inference;
    };

    void write_counters(std::string& text) const;
    void write_histograms(std::string& text, const std::string& name, const std::string& help,
                          std::optional<Histogram> OfModel::*histogram) const;
    void write_drift(std::string& text, const Models& models) const;

    // All that are usual from the start: what is first seen as 1 has not risen for a rate.
    std::map<int, std::uint64_t> responses_ = {{200, 0}, {400, 0}, {401, 0}, {404, 0},
                                               {405, 0}, {413, 0}, {415, 0}, {500, 0},
                                               {501, 0}, {503, 0}, {504, 0}};
    std::map<std::string, OfModel> models_;
    std::map<std::string, Drift> drift_;  // by the bundle's digest
    std::map<std::string, std::uint64_t> reloads_ = {{"success", 0}, {"failure", 0}};
    bool reloaded_ = true;  // the last time; what was loaded at the start is what was configured
    // Not the clock of the C++ library: compiled for 32-bit Arm that throws from 2038 on.
    std::time_t started_ = std::time(nullptr);
};

}  // namespace inferd
