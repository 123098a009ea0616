// Whether a model is still asked what it was evaluated with: reference histograms of a bundle
// (bundle-format.md, drift.json), streaming ones, and how far they are from each other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "result.hpp"
#include "tensor.hpp"

namespace inferd {

enum class StatisticKind { kMean, kDeviation, kValues, kTop, kChoice };

// A number, or several, taken of each sample of one tensor, and its histogram over the evaluation
// data: counts[i] is how many were at most bounds[i] and above the bound before.
struct DriftStatistic {
    bool input;
    std::size_t tensor;  // position among the inputs or the outputs
    StatisticKind kind;
    std::vector<double> bounds;
    std::vector<std::uint64_t> counts;  // one more than bounds

    std::string_view name() const;
};

using DriftReference = std::vector<DriftStatistic>;

// Parses drift.json; codes `drift-malformed`, and `drift-mismatch` for a tensor that is not among
// these or has no numbers.
Result<DriftReference> parse_drift(std::string_view text, const std::vector<TensorSpec>& inputs,
                                   const std::vector<TensorSpec>& outputs);

// The population stability index, the sum of (a - e) * ln(a / e) over the bins, of the shares of
// two histograms with as many bins (N. Siddiqi, Credit Risk Scorecards, 2006). Half a count is
// added to every bin, so that an empty one has a share.
double stability_index(const std::vector<std::uint64_t>& expected,
                       const std::vector<std::uint64_t>& actual);

// The histograms of what a model was asked and answered last: of the window that fills and the
// full one before it, so that neither memory nor the past grows without end.
class Drift {
  public:
    static constexpr std::size_t kWindow = 1000;  // samples
    static constexpr std::size_t kLeast = 300;    // fewer say nothing

    explicit Drift(DriftReference reference);

    // Takes in the samples of a request that was answered, tensors in the bundle's order.
    void observe(const std::vector<TensorSpec>& specs, const std::vector<Tensor>& inputs,
                 const std::vector<Tensor>& outputs);

    const DriftReference& reference() const { return reference_; }
    std::size_t samples() const { return last_samples_ + samples_; }
    // The index of each statistic of the reference, no number for one that was not measured of
    // enough samples; empty until there are enough at all.
    std::vector<double> indices() const;

  private:
    using Counts = std::vector<std::vector<std::uint64_t>>;

    DriftReference reference_;
    Counts last_;
    Counts counts_;
    std::vector<std::size_t> last_measured_;  // samples of each statistic
    std::vector<std::size_t> measured_;
    std::size_t last_samples_ = 0;
    std::size_t samples_ = 0;
};

}  // namespace inferd
