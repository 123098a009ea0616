#include "golden.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <set>
#include <utility>

#include "json.hpp"

namespace inferd {
namespace {

constexpr std::uint64_t kMaxHeader = 1 << 20;

Error malformed(const std::string& what) { return {"golden-malformed", what}; }
Error mismatch(const std::string& what) { return {"golden-mismatch", what}; }

struct Range {
    std::uint64_t begin;
    std::uint64_t end;
};

Result<std::vector<std::int64_t>> read_shape(const Json& value) {
    if (!value.is_array() || value.size() > kMaxRank)
        return malformed("a shape is no list of sizes");
    std::vector<std::int64_t> shape;
    for (const auto& size : value) {
        if (!size.is_number_unsigned() || size.get<std::uint64_t>() > 0x7fffffff) {
            return malformed("a shape is no list of sizes");
        }
        shape.push_back(size.get<std::int64_t>());
    }
    return shape;
}

Result<Range> read_range(const Json& value) {
    if (!value.is_array() || value.size() != 2 || !value[0].is_number_unsigned() ||
        !value[1].is_number_unsigned()) {
        return malformed("data_offsets are not two positions");
    }
    return Range{value[0].get<std::uint64_t>(), value[1].get<std::uint64_t>()};
}

Result<std::pair<Tensor, Range>> read_entry(const std::string& name, const Json& entry) {
    if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") ||
        !entry.contains("shape") || !entry.contains("data_offsets") ||
        !entry["dtype"].is_string()) {
        return malformed(name + " has not dtype, shape and data_offsets");
    }
    const auto dtype = dtype_from_safetensors(entry["dtype"].get<std::string>());
    if (!dtype) return malformed(name + " has an unknown dtype");
    auto shape = read_shape(entry["shape"]);
    if (!shape) return shape.error();
    const auto range = read_range(entry["data_offsets"]);
    if (!range) return range.error();
    const auto count = element_count(*shape);
    if (!count || range->begin > range->end ||
        range->end - range->begin != std::uint64_t{*count} * info(*dtype).size) {
        return malformed(name + " has other bytes than its shape needs");
    }
    return std::pair(Tensor{name, *dtype, std::move(*shape), {}}, *range);
}

Result<std::string> header_text(std::span<const std::byte> file) {
    if (file.size() < 8) return malformed("shorter than its header");
    std::uint64_t size = 0;
    std::memcpy(&size, file.data(), 8);
    if (size > kMaxHeader || size > file.size() - 8) return malformed("the header has no room");
    return std::string(reinterpret_cast<const char*>(file.data()) + 8,
                       static_cast<std::size_t>(size));
}

Status check_coverage(std::vector<Range> ranges, std::uint64_t size) {
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
        return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::uint64_t at = 0;
    for (const auto& range : ranges) {
        if (range.begin != at) return malformed("tensors overlap or leave a hole");
        at = range.end;
    }
    if (at != size) return malformed("the data do not end where the file ends");
    return std::nullopt;
}

// Text is stored as the bytes of its binary form; only the first axis can be unknown, so their
// number gives the shape.
bool restore_text(Tensor& tensor, const TensorSpec& spec) {
    const auto elements = split_text(tensor.data);
    if (tensor.dtype != DType::kU8 || tensor.shape.size() != 1 || !elements) return false;
    auto shape = spec.shape;
    if (spec.has_batch()) {
        shape[0] = 1;
        const auto row = element_count(shape);
        if (!row || *row == 0) return false;
        shape[0] = static_cast<std::int64_t>(elements->size() / *row);
    }
    const auto count = element_count(shape);
    if (!count || *count != elements->size()) return false;
    tensor.dtype = DType::kText;
    tensor.shape = std::move(shape);
    return true;
}

Result<Tensor> take(std::map<std::string, Tensor>& tensors, std::size_t number,
                    const std::string& kind, const TensorSpec& spec) {
    char prefix[32];
    std::snprintf(prefix, sizeof prefix, "%03zu.", number);
    const std::string key = prefix + kind + "." + spec.name;
    const auto found = tensors.find(key);
    if (found == tensors.end()) return mismatch("there is no " + key);
    Tensor tensor = std::move(found->second);
    tensors.erase(found);
    const bool text = spec.dtype == DType::kText && restore_text(tensor, spec);
    if ((spec.dtype == DType::kText) != text || tensor.dtype != spec.dtype ||
        !shape_fits(tensor.shape, spec.shape)) {
        return mismatch(key + " has another dtype or shape than bundle.json");
    }
    tensor.name = spec.name;
    return tensor;
}

// A free first axis is the batch, of the same size in all inputs of a run.
bool same_batch(const std::vector<Tensor>& inputs, const std::vector<TensorSpec>& specs) {
    std::set<std::int64_t> sizes;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (specs[i].has_batch()) sizes.insert(inputs[i].shape[0]);
    }
    return sizes.size() <= 1;
}

}  // namespace

Result<std::map<std::string, Tensor>> read_safetensors(std::span<const std::byte> file) {
    const auto text = header_text(file);
    if (!text) return text.error();
    const auto header = parse_json(*text, 4);
    if (!header) return malformed("the header is " + header.error().message);
    if (!header->is_object()) return malformed("the header is no object");
    const auto data = file.subspan(8 + text->size());

    std::map<std::string, Tensor> tensors;
    std::vector<Range> ranges;
    for (const auto& [name, value] : header->items()) {
        if (name == "__metadata__") continue;
        auto entry = read_entry(name, value);
        if (!entry) return entry.error();
        auto& [tensor, range] = *entry;
        if (range.end > data.size()) return malformed(name + " ends behind the file");
        const auto part = data.subspan(static_cast<std::size_t>(range.begin),
                                       static_cast<std::size_t>(range.end - range.begin));
        tensor.data.assign(part.begin(), part.end());
        ranges.push_back(range);
        tensors.emplace(name, std::move(tensor));
    }
    if (auto problem = check_coverage(std::move(ranges), data.size())) return *problem;
    return tensors;
}

Result<std::vector<Sample>> read_golden(std::span<const std::byte> file, const GoldenSpec& spec) {
    auto tensors = read_safetensors(file);
    if (!tensors) return tensors.error();
    if (tensors->size() != spec.samples * (spec.inputs.size() + spec.outputs.size())) {
        return mismatch("it has " + std::to_string(tensors->size()) + " tensors, not those of " +
                        std::to_string(spec.samples) + " samples");
    }
    std::vector<Sample> samples(spec.samples);
    for (std::size_t i = 0; i < spec.samples; ++i) {
        for (const auto& [kind, specs, target] :
             {std::tuple("input", &spec.inputs, &samples[i].inputs),
              std::tuple("output", &spec.outputs, &samples[i].outputs)}) {
            for (const auto& one : *specs) {
                auto tensor = take(*tensors, i, kind, one);
                if (!tensor) return tensor.error();
                target->push_back(std::move(*tensor));
            }
        }
        if (!same_batch(samples[i].inputs, spec.inputs)) {
            return mismatch("the inputs of sample " + std::to_string(i) + " differ in their batch");
        }
    }
    return samples;
}

}  // namespace inferd
