#include "drift.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <utility>

#include "json.hpp"

namespace inferd {
namespace {

constexpr std::size_t kMaxStatistics = 512;
constexpr std::size_t kMaxBounds = 64;
constexpr std::uint64_t kMaxCount = std::uint64_t{1} << 53;
// Of a larger tensor as many elements are looked at, evenly spread.
constexpr std::size_t kElements = 1024;

constexpr std::string_view kNames[] = {"mean", "deviation", "values", "top", "choice"};

Error malformed(const std::string& what) { return {"drift-malformed", what}; }

bool has_keys(const Json& value, std::initializer_list<const char*> keys) {
    return value.is_object() && value.size() == keys.size() &&
           std::all_of(keys.begin(), keys.end(),
                       [&](const char* key) { return value.contains(key); });
}

bool is_count(const Json& value) {
    return value.is_number_unsigned() && value.get<std::uint64_t>() <= kMaxCount;
}

Status read_histogram(const Json& item, DriftStatistic& statistic) {
    const auto& bounds = item["bounds"];
    const auto& counts = item["counts"];
    if (!bounds.is_array() || bounds.empty() || bounds.size() > kMaxBounds || !counts.is_array() ||
        counts.size() != bounds.size() + 1) {
        return malformed("a statistic needs 1 to 64 bounds and one count more");
    }
    for (const auto& bound : bounds) {
        const double value = bound.is_number() ? bound.get<double>() : std::nan("");
        if (!std::isfinite(value) ||
            (!statistic.bounds.empty() && value <= statistic.bounds.back())) {
            return malformed("bounds must be rising numbers");
        }
        statistic.bounds.push_back(value);
    }
    std::uint64_t total = 0;
    for (const auto& count : counts) {
        if (!is_count(count)) return malformed("counts must be whole numbers");
        statistic.counts.push_back(count.get<std::uint64_t>());
        total += statistic.counts.back();
    }
    if (total == 0) return malformed("a statistic has counted nothing");
    return std::nullopt;
}

Result<DriftStatistic> read_statistic(const Json& item, const std::vector<TensorSpec>& inputs,
                                      const std::vector<TensorSpec>& outputs) {
    if (!has_keys(item, {"side", "tensor", "statistic", "bounds", "counts"}) ||
        !item["tensor"].is_string()) {
        return malformed("a statistic has side, tensor, statistic, bounds and counts");
    }
    const bool input = item["side"] == "input";
    if (!input && item["side"] != "output") return malformed("a side is input or output");
    const auto kind = std::find_if(std::begin(kNames), std::end(kNames),
                                   [&](auto name) { return item["statistic"] == name; });
    if (kind == std::end(kNames)) return malformed("a statistic has an unknown name");
    const auto& specs = input ? inputs : outputs;
    const auto name = item["tensor"].get<std::string>();
    const auto spec = std::find_if(specs.begin(), specs.end(),
                                   [&](const TensorSpec& each) { return each.name == name; });
    if (spec == specs.end() || spec->dtype == DType::kText) {
        return Error{"drift-mismatch", "bundle.json has no numbers called " + name};
    }
    DriftStatistic statistic{input,
                             static_cast<std::size_t>(spec - specs.begin()),
                             static_cast<StatisticKind>(kind - std::begin(kNames)),
                             {},
                             {}};
    if (auto problem = read_histogram(item, statistic)) return *problem;
    return statistic;
}

// One sample's elements of a tensor, those that are looked at read once for all its statistics.
class Part {
  public:
    // `size` is not 0.
    void read(const Tensor& tensor, std::size_t first, std::size_t size) {
        tensor_ = &tensor;
        first_ = first;
        size_ = size;
        const auto step = (size + kElements - 1) / kElements;
        count_ = (size + step - 1) / step;
        read_elements(tensor.dtype, tensor.data.data(), {first, count_, step}, values_.data());
    }

    const Tensor* tensor() const { return tensor_; }
    std::size_t first() const { return first_; }
    // Of a larger tensor evenly spread.
    std::span<const double> values() const { return {values_.data(), count_}; }

    // Position and value of the largest element; what is no number is less than all others.
    std::pair<std::size_t, double> largest() const {
        std::pair<std::size_t, double> best{0, -std::numeric_limits<double>::infinity()};
        std::array<double, kBlock> block;
        for (std::size_t i = 0; i < size_; i += kBlock) {
            const Spread next{first_ + i, std::min(kBlock, size_ - i), 1};
            read_elements(tensor_->dtype, tensor_->data.data(), next, block.data());
            for (std::size_t k = 0; k < next.count; ++k) {
                if (block[k] > best.second) best = {i + k, block[k]};
            }
        }
        return best;
    }

  private:
    static constexpr std::size_t kBlock = 128;

    const Tensor* tensor_ = nullptr;
    std::size_t first_ = 0;
    std::size_t size_ = 0;
    std::size_t count_ = 0;
    std::array<double, kElements> values_;
};

double mean(std::span<const double> values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation(std::span<const double> values) {
    const double middle = mean(values);
    double sum = 0;
    for (const double value : values) sum += (value - middle) * (value - middle);
    return std::sqrt(sum / static_cast<double>(values.size()));
}

void count(const DriftStatistic& statistic, std::vector<std::uint64_t>& counts, double value) {
    const auto& bounds = statistic.bounds;
    const auto at =
        std::isnan(value) ? bounds.end() : std::lower_bound(bounds.begin(), bounds.end(), value);
    ++counts[static_cast<std::size_t>(at - bounds.begin())];
}

void count_part(const DriftStatistic& statistic, std::vector<std::uint64_t>& counts,
                const Part& part) {
    switch (statistic.kind) {
        case StatisticKind::kMean:
            return count(statistic, counts, mean(part.values()));
        case StatisticKind::kDeviation:
            return count(statistic, counts, deviation(part.values()));
        case StatisticKind::kValues:
            for (const double value : part.values()) count(statistic, counts, value);
            return;
        case StatisticKind::kTop:
            return count(statistic, counts, part.largest().second);
        case StatisticKind::kChoice: {
            const auto& shape = part.tensor()->shape;
            // An axis can have no elements.
            const auto classes = std::max<std::size_t>(
                1, shape.empty() ? 1 : static_cast<std::size_t>(shape.back()));
            return count(statistic, counts, static_cast<double>(part.largest().first % classes));
        }
    }
}

std::vector<std::vector<std::uint64_t>> empty_counts(const DriftReference& reference) {
    std::vector<std::vector<std::uint64_t>> counts;
    for (const auto& statistic : reference) counts.emplace_back(statistic.counts.size());
    return counts;
}

double share(const std::vector<std::uint64_t>& counts, std::size_t bin) {
    double total = 0;
    for (const auto each : counts) total += static_cast<double>(each) + 0.5;
    return (static_cast<double>(counts[bin]) + 0.5) / total;
}

}  // namespace

std::string_view DriftStatistic::name() const { return kNames[static_cast<std::size_t>(kind)]; }

Result<DriftReference> parse_drift(std::string_view text, const std::vector<TensorSpec>& inputs,
                                   const std::vector<TensorSpec>& outputs) {
    const auto json = parse_json(text, 8);
    if (!json) return malformed(json.error().message);
    if (!has_keys(*json, {"format", "samples", "statistics"}) || (*json)["format"] != 1U ||
        !(*json)["format"].is_number_integer() || !is_count((*json)["samples"])) {
        return malformed("it has format 1, samples and statistics");
    }
    const auto& list = (*json)["statistics"];
    if (!list.is_array() || list.empty() || list.size() > kMaxStatistics) {
        return malformed("statistics must be a list of 1 to 512");
    }
    DriftReference reference;
    std::set<std::tuple<bool, std::size_t, StatisticKind>> seen;
    for (const auto& item : list) {
        auto statistic = read_statistic(item, inputs, outputs);
        if (!statistic) return statistic.error();
        if (!seen.emplace(statistic->input, statistic->tensor, statistic->kind).second) {
            return malformed("a statistic is doubled");
        }
        reference.push_back(std::move(*statistic));
    }
    return reference;
}

double stability_index(const std::vector<std::uint64_t>& expected,
                       const std::vector<std::uint64_t>& actual) {
    double index = 0;
    for (std::size_t bin = 0; bin < expected.size(); ++bin) {
        const double e = share(expected, bin);
        const double a = share(actual, bin);
        index += (a - e) * std::log(a / e);
    }
    return index;
}

Drift::Drift(DriftReference reference)
    : reference_(std::move(reference)),
      last_(empty_counts(reference_)),
      counts_(empty_counts(reference_)),
      last_measured_(reference_.size()),
      measured_(reference_.size()) {}

void Drift::observe(const std::vector<TensorSpec>& specs, const std::vector<Tensor>& inputs,
                    const std::vector<Tensor>& outputs) {
    const auto samples = rows_of(specs, inputs);
    Part part;
    for (std::size_t n = 0; n < samples; ++n) {
        for (std::size_t i = 0; i < reference_.size(); ++i) {
            const auto& statistic = reference_[i];
            const auto& tensor = (statistic.input ? inputs : outputs)[statistic.tensor];
            const auto elements = tensor.data.size() / info(tensor.dtype).size;
            const auto each = elements / samples;
            // What is not divided among the samples is not measured.
            if (each == 0 || each * samples != elements || tensor.dtype == DType::kText) continue;
            if (part.tensor() != &tensor || part.first() != n * each) {
                part.read(tensor, n * each, each);
            }
            count_part(statistic, counts_[i], part);
            ++measured_[i];
        }
    }
    samples_ += samples;
    if (samples_ < kWindow) return;
    last_ = std::exchange(counts_, empty_counts(reference_));
    last_measured_ = std::exchange(measured_, std::vector<std::size_t>(reference_.size()));
    last_samples_ = std::exchange(samples_, 0);
}

std::vector<double> Drift::indices() const {
    std::vector<double> result;
    if (samples() < kLeast) return result;
    for (std::size_t i = 0; i < reference_.size(); ++i) {
        if (last_measured_[i] + measured_[i] < kLeast) {
            result.push_back(std::nan(""));
            continue;
        }
        auto actual = last_[i];
        for (std::size_t bin = 0; bin < actual.size(); ++bin) actual[bin] += counts_[i][bin];
        result.push_back(stability_index(reference_[i].counts, actual));
    }
    return result;
}

}  // namespace inferd
