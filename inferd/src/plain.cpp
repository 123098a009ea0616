#include "plain.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "elements.hpp"
#include "numbers.hpp"

namespace inferd {
namespace {

// An input as the request has it; the names point into its text.
struct Input {
    std::optional<std::string_view> name;
    std::optional<std::string_view> datatype;
    std::optional<std::vector<std::int64_t>> shape;
    std::optional<Values> data;
};

// Reads JSON of which it knows what comes next; false for all else.
class Reader {
  public:
    Reader(std::string_view text, std::size_t most_values)
        : at_(text.data()), end_(at_ + text.size()), most_(most_values) {}

    bool take(char wanted) {
        skip_space();
        if (at_ == end_ || *at_ != wanted) return false;
        ++at_;
        return true;
    }

    bool at_end() {
        skip_space();
        return at_ == end_;
    }

    // ASCII without escapes.
    bool read(std::optional<std::string_view>& text) {
        if (text || !take('"')) return false;
        const char* const first = at_;
        while (at_ != end_ && *at_ >= ' ' && *at_ <= '~' && *at_ != '"' && *at_ != '\\') ++at_;
        text.emplace(first, static_cast<std::size_t>(at_ - first));
        return at_ != end_ && *at_++ == '"';
    }

    bool read(std::optional<std::vector<std::int64_t>>& shape) {
        std::optional<Values> sizes;
        if (shape || !read(sizes) || sizes->items.size() > kMaxRank) return false;
        shape.emplace();
        shape->reserve(sizes->items.size());
        for (const auto& size : sizes->items) {
            if (size.kind != Values::Kind::kUnsigned || size.integer > 0x7fffffff) return false;
            shape->push_back(size.negative);
        }
        return true;
    }

    bool read(std::optional<Values>& numbers) {
        if (numbers || !take('[')) return false;
        at_ += take_numbers({at_, static_cast<std::size_t>(end_ - at_)}, numbers.emplace(), most_);
        most_ -= numbers->items.size();
        return take(']');
    }

    // One value or more between brackets, each by the function.
    template <typename Function>
    bool read_list(char open, char close, Function each) {
        if (!take(open)) return false;
        do {
            if (!each()) return false;
        } while (take(','));
        return take(close);
    }

    template <typename Function>
    bool read_object(Function member) {
        return read_list('{', '}', [&] {
            std::optional<std::string_view> key;
            return read(key) && take(':') && member(*key);
        });
    }

  private:
    void skip_space() { at_ = inferd::skip_space(at_, end_); }

    const char* at_;
    const char* const end_;
    std::size_t most_;  // values that may come yet
};

bool read_input(Reader& reader, Input& input) {
    return reader.read_object([&](std::string_view key) {
        if (key == "name") return reader.read(input.name);
        if (key == "datatype") return reader.read(input.datatype);
        if (key == "shape") return reader.read(input.shape);
        return key == "data" && reader.read(input.data);
    });
}

// The input as the model wants it, moved out of the request.
std::optional<Tensor> fit(Input& input, const TensorSpec& spec) {
    const auto& type = info(spec.dtype);
    if (!input.datatype || *input.datatype != type.protocol || !input.shape || !input.data ||
        !shape_fits(*input.shape, spec.shape)) {
        return std::nullopt;
    }
    const auto count = element_count(*input.shape);
    if (!count || input.data->items.size() != *count) return std::nullopt;
    Tensor tensor{spec.name, spec.dtype, std::move(*input.shape), {}};
    if (!append_values(spec.dtype, tensor.data, *input.data, *count * type.size) ||
        !holds(spec.dtype, tensor.data, *count)) {
        return std::nullopt;
    }
    return tensor;
}

}  // namespace

std::optional<InferRequest> parse_plain(std::string_view text, const Description& description,
                                        std::size_t most_values) {
    Reader reader(text, most_values);
    std::optional<std::string_view> id;
    std::vector<Input> inputs;
    // No more than the model has are kept: many small ones would take far more than their text.
    const auto add_input = [&] {
        return inputs.size() < description.inputs.size() &&
               read_input(reader, inputs.emplace_back());
    };
    const bool read = reader.read_object([&](std::string_view key) {
        if (key == "id") return reader.read(id);
        return key == "inputs" && inputs.empty() && reader.read_list('[', ']', add_input);
    });
    if (!read || !reader.at_end() || inputs.size() != description.inputs.size()) {
        return std::nullopt;
    }
    InferRequest request;
    request.id = id.value_or("");
    for (const auto& spec : description.inputs) {
        const auto found = std::find_if(inputs.begin(), inputs.end(), [&](const Input& input) {
            return input.name == spec.name;
        });
        if (found == inputs.end()) return std::nullopt;
        auto tensor = fit(*found, spec);
        if (!tensor) return std::nullopt;
        request.inputs.push_back(std::move(*tensor));
    }
    return request;
}

}  // namespace inferd
