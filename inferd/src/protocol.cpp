#include "protocol.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

namespace inferd {
namespace {

constexpr std::size_t kMaxBatch = 64;
constexpr std::size_t kBytesPerElement = 32;
constexpr std::size_t kEnvelope = 64 << 10;
constexpr std::size_t kMaxRequest = 64 << 20;

Error bad(const std::string& what) { return {"", what}; }

template <typename T>
void store(std::vector<std::byte>& data, T value) {
    const auto at = data.size();
    data.resize(at + sizeof(T));
    std::memcpy(data.data() + at, &value, sizeof(T));
}

template <typename T>
bool append_integer(std::vector<std::byte>& data, const Json& value) {
    if (value.is_number_unsigned()) {
        const auto number = value.get<std::uint64_t>();
        if (number > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return false;
        store(data, static_cast<T>(number));
        return true;
    }
    if (!value.is_number_integer()) return false;
    const auto number = value.get<std::int64_t>();
    if constexpr (std::numeric_limits<T>::is_signed) {
        if (number < static_cast<std::int64_t>(std::numeric_limits<T>::min())) return false;
        store(data, static_cast<T>(number));
        return true;
    }
    return false;
}

bool append(DType type, std::vector<std::byte>& data, const Json& value) {
    switch (type) {
        case DType::kBool:
            if (!value.is_boolean()) return false;
            store(data, static_cast<std::uint8_t>(value.get<bool>()));
            return true;
        case DType::kU8:
            return append_integer<std::uint8_t>(data, value);
        case DType::kI8:
            return append_integer<std::int8_t>(data, value);
        case DType::kU16:
            return append_integer<std::uint16_t>(data, value);
        case DType::kI16:
            return append_integer<std::int16_t>(data, value);
        case DType::kU32:
            return append_integer<std::uint32_t>(data, value);
        case DType::kI32:
            return append_integer<std::int32_t>(data, value);
        case DType::kU64:
            return append_integer<std::uint64_t>(data, value);
        case DType::kI64:
            return append_integer<std::int64_t>(data, value);
        default:
            break;
    }
    if (!value.is_number()) return false;
    const double number = value.get<double>();
    if (type == DType::kF64) {
        store(data, number);
    } else if (std::fabs(number) > static_cast<double>(std::numeric_limits<float>::max())) {
        return false;
    } else if (type == DType::kF32) {
        store(data, static_cast<float>(number));
    } else {
        store(data, float_to_half(static_cast<float>(number)));
    }
    return true;
}

// Takes nested or flat data; depth was limited by the parser.
bool flatten(DType type, std::vector<std::byte>& data, const Json& value, std::size_t most) {
    if (!value.is_array()) return data.size() < most && append(type, data, value);
    return std::all_of(value.begin(), value.end(),
                       [&](const Json& item) { return flatten(type, data, item, most); });
}

std::string show(const std::vector<std::int64_t>& shape) { return dump(Json(shape)); }

Result<std::vector<std::int64_t>> read_shape(const Json& value, const std::string& name) {
    if (!value.is_array() || value.size() > 8) return bad(name + ": shape must be a list of sizes");
    std::vector<std::int64_t> shape;
    for (const auto& size : value) {
        if (!size.is_number_unsigned() || size.get<std::uint64_t>() > 0x7fffffff) {
            return bad(name + ": shape must be a list of sizes");
        }
        shape.push_back(size.get<std::int64_t>());
    }
    return shape;
}

Result<Tensor> read_input(const Json& item, const TensorSpec& spec) {
    const auto& name = spec.name;
    if (!item.contains("datatype") || item["datatype"] != std::string(info(spec.dtype).protocol)) {
        return bad(name + ": datatype must be " + std::string(info(spec.dtype).protocol));
    }
    if (!item.contains("shape")) return bad(name + ": shape is missing");
    auto shape = read_shape(item["shape"], name);
    if (!shape) return shape.error();
    const auto count = element_count(*shape);
    if (!shape_fits(*shape, spec.shape) || !count || *count > kMaxRequest) {
        return bad(name + ": shape " + show(*shape) + " does not fit " + show(spec.shape));
    }
    if (!item.contains("data") || !item["data"].is_array()) {
        return bad(name + ": data must be a list");
    }
    Tensor tensor{name, spec.dtype, std::move(*shape), {}};
    // Grows with the data: the shape alone is only a claim.
    const std::size_t bytes = *count * info(spec.dtype).size;
    if (!flatten(spec.dtype, tensor.data, item["data"], bytes)) {
        return bad(name + ": data has a value that is no " +
                   std::string(info(spec.dtype).protocol) + ", or too many values");
    }
    if (tensor.data.size() != bytes) {
        return bad(name + ": data has " +
                   std::to_string(tensor.data.size() / info(spec.dtype).size) +
                   " values, shape needs " + std::to_string(*count));
    }
    return tensor;
}

const Json* find_named(const Json& list, const std::string& name) {
    const Json* found = nullptr;
    for (const auto& item : list) {
        if (item.is_object() && item.value("name", Json()) == name) found = &item;
    }
    return found;
}

Result<std::vector<std::string>> read_outputs(const Json& body, const Description& description) {
    std::vector<std::string> names;
    const auto asked = body.value("outputs", Json::array());
    if (!asked.is_array()) return bad("outputs must be a list");
    for (const auto& item : asked) {
        const auto name = item.is_object() ? item.value("name", Json()) : Json();
        const bool known = std::any_of(description.outputs.begin(), description.outputs.end(),
                                       [&](const TensorSpec& spec) { return name == spec.name; });
        if (!known) return bad("outputs: there is no output " + dump(name));
        names.push_back(name.get<std::string>());
    }
    return names;
}

// The runtimes' own complaints about this would look like a fault of the server.
bool same_batch(const std::vector<Tensor>& inputs, const Description& description) {
    std::optional<std::int64_t> batch;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (description.inputs[i].shape[0] != -1) continue;
        if (batch.value_or(inputs[i].shape[0]) != inputs[i].shape[0]) return false;
        batch = inputs[i].shape[0];
    }
    return true;
}

Json values(const Tensor& tensor) {
    auto list = Json::array();
    const std::size_t size = info(tensor.dtype).size;
    for (std::size_t i = 0; i < tensor.data.size() / size; ++i) {
        const auto* at = tensor.data.data();
        if (tensor.dtype == DType::kBool) {
            list.push_back(element(tensor.dtype, at, i) != 0);
        } else if (tensor.dtype == DType::kU64) {
            std::uint64_t number;
            std::memcpy(&number, at + i * size, size);
            list.push_back(number);
        } else if (tensor.dtype == DType::kI64) {
            std::int64_t number;
            std::memcpy(&number, at + i * size, size);
            list.push_back(number);
        } else if (tensor.dtype >= DType::kF16) {
            list.push_back(element(tensor.dtype, at, i));
        } else {
            list.push_back(static_cast<std::int64_t>(element(tensor.dtype, at, i)));
        }
    }
    return list;
}

Json tensor_metadata(const std::vector<TensorSpec>& specs) {
    auto list = Json::array();
    for (const auto& spec : specs) {
        list.push_back(
            {{"name", spec.name}, {"datatype", info(spec.dtype).protocol}, {"shape", spec.shape}});
    }
    return list;
}

}  // namespace

Result<InferRequest> parse_infer(std::string_view text, const Description& description) {
    const auto body = parse_json(text, 16);
    if (!body) return bad("the request is " + body.error().message);
    if (!body->is_object()) return bad("the request must be an object");
    InferRequest request;
    const auto id = body->value("id", Json(""));
    if (!id.is_string()) return bad("id must be text");
    request.id = id.get<std::string>();
    if (!body->contains("inputs") || !(*body)["inputs"].is_array()) {
        return bad("inputs must be a list");
    }
    const auto& inputs = (*body)["inputs"];
    if (inputs.size() != description.inputs.size()) {
        return bad("the model has " + std::to_string(description.inputs.size()) +
                   " inputs, the request " + std::to_string(inputs.size()));
    }
    for (const auto& spec : description.inputs) {
        const Json* item = find_named(inputs, spec.name);
        if (item == nullptr) return bad("there is no input " + spec.name);
        auto tensor = read_input(*item, spec);
        if (!tensor) return tensor.error();
        request.inputs.push_back(std::move(*tensor));
    }
    if (!same_batch(request.inputs, description)) {
        return bad("the free axes of the inputs have different sizes");
    }
    auto outputs = read_outputs(*body, description);
    if (!outputs) return outputs.error();
    request.outputs = std::move(*outputs);
    return request;
}

Json infer_answer(const Description& description, const InferRequest& request,
                  const std::vector<Tensor>& outputs) {
    Json answer = {{"model_name", description.name}, {"model_version", description.version}};
    if (!request.id.empty()) answer["id"] = request.id;
    answer["outputs"] = Json::array();
    for (const auto& tensor : outputs) {
        const auto& asked = request.outputs;
        if (!asked.empty() && std::find(asked.begin(), asked.end(), tensor.name) == asked.end()) {
            continue;
        }
        answer["outputs"].push_back({{"name", tensor.name},
                                     {"datatype", info(tensor.dtype).protocol},
                                     {"shape", tensor.shape},
                                     {"data", values(tensor)}});
    }
    return answer;
}

Json server_metadata() {
    return {{"name", "inferd"}, {"version", INFERD_VERSION}, {"extensions", Json::array()}};
}

Json model_metadata(const Model& model) {
    const auto& description = model.bundle.description;
    return {{"name", description.name},
            {"versions", {description.version}},
            {"platform", model.backend->name() + "_" + description.model_format},
            {"inputs", tensor_metadata(description.inputs)},
            {"outputs", tensor_metadata(description.outputs)},
            {"parameters",
             {{"digest", model.bundle.digest},
              {"runtime", model.backend->name()},
              {"runtime_version", model.backend->version()},
              {"provider", model.session->provider()}}}};
}

std::size_t request_limit(const Description& description) {
    std::size_t total = kEnvelope;
    for (const auto& spec : description.inputs) {
        auto shape = spec.shape;
        if (!shape.empty() && shape[0] == -1) shape[0] = kMaxBatch;
        const auto count = element_count(shape).value_or(kMaxRequest);
        // No sum overflows where sizes have 32 bits.
        total += std::min(count, kMaxRequest / kBytesPerElement) * kBytesPerElement;
        total = std::min(total, kMaxRequest);
    }
    return total;
}

}  // namespace inferd
