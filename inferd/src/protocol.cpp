#include "protocol.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "elements.hpp"
#include "plain.hpp"

namespace inferd {
namespace {

constexpr std::size_t kMaxBatch = 64;
constexpr std::size_t kBytesPerElement = 32;
constexpr std::size_t kBytesPerText = 4096;
constexpr std::size_t kEnvelope = 64 << 10;
constexpr std::size_t kMaxRequest = 64 << 20;
constexpr std::size_t kFreeValues = std::size_t{1} << 20;  // of any request, in JSON
constexpr std::size_t kUsual = 512;                        // bytes of a small answer

using Bytes = std::span<const std::byte>;

Error bad(const std::string& what) { return {"", what}; }

bool is_text(const Json& value, std::string_view text) {
    return value.is_string() && value.get_ref<const std::string&>() == text;
}

std::string show(const std::vector<std::int64_t>& shape) {
    std::string text = "[";
    for (const auto size : shape) {
        if (text.size() > 1) text += ',';
        text += std::to_string(size);
    }
    return text + "]";
}

// The member of an object, nothing if it has none: the library's `value` copies it. One that is
// null is none: so clients write optional members that they do not use.
const Json* member(const Json& object, const char* key) {
    const auto found = object.find(key);
    return found == object.end() || found->is_null() ? nullptr : &*found;
}

// The parameters of the request, an input or an output: an object, or nothing.
Result<const Json*> parameters_of(const Json& item, const std::string& where) {
    static const Json kNone = Json::object();
    const Json* parameters = member(item, "parameters");
    if (parameters == nullptr) return &kNone;
    if (!parameters->is_object()) return bad(where + ": parameters must be an object");
    for (const auto* unknown : {"shared_memory_region", "classification", "sequence_id"}) {
        if (member(*parameters, unknown) != nullptr) {
            return bad(where + ": " + unknown + " is not supported");
        }
    }
    return parameters;
}

Result<bool> read_flag(const Json& parameters, const char* key, const std::string& where) {
    const Json* value = member(parameters, key);
    if (value == nullptr) return false;
    if (!value->is_boolean()) return bad(where + ": " + key + " must be true or false");
    return value->get<bool>();
}

// The parts of the body behind the JSON: the inputs that have some, in their order.
Result<std::map<std::string, Bytes>> split_binary(const Json& inputs, Bytes rest) {
    std::map<std::string, Bytes> parts;
    for (const auto& item : inputs) {
        const Json* given = item.is_object() ? member(item, "name") : nullptr;
        if (given == nullptr || !given->is_string()) continue;
        const auto& name = given->get_ref<const std::string&>();
        const auto parameters = parameters_of(item, name);
        if (!parameters) return parameters.error();
        const Json* size = member(**parameters, "binary_data_size");
        if (size == nullptr) continue;
        if (!size->is_number_unsigned()) return bad(name + ": binary_data_size must be a size");
        if (size->get<std::uint64_t>() > rest.size()) {
            return bad(name + ": binary_data_size is more than the request has");
        }
        const auto count = static_cast<std::size_t>(size->get<std::uint64_t>());
        parts[name] = rest.first(count);
        rest = rest.subspan(count);
    }
    if (!rest.empty()) return bad("the request has bytes that belong to no input");
    return parts;
}

Result<std::vector<std::int64_t>> read_shape(const Json& value, const std::string& name) {
    if (!value.is_array() || value.size() > kMaxRank)
        return bad(name + ": shape must be a list of sizes");
    std::vector<std::int64_t> shape;
    shape.reserve(value.size());
    for (const auto& size : value) {
        if (!size.is_number_unsigned() || size.get<std::uint64_t>() > 0x7fffffff) {
            return bad(name + ": shape must be a list of sizes");
        }
        shape.push_back(size.get<std::int64_t>());
    }
    return shape;
}

Status read_binary(Tensor& tensor, Bytes bytes, std::size_t count) {
    if (!holds(tensor.dtype, bytes, count)) {
        return bad(tensor.name + ": the bytes are not the " + std::to_string(count) + " " +
                   std::string(info(tensor.dtype).protocol) + " of its shape");
    }
    tensor.data.assign(bytes.begin(), bytes.end());
    return std::nullopt;
}

Status read_values(Tensor& tensor, const Values& data, std::size_t count) {
    const auto& type = info(tensor.dtype);
    const bool text = tensor.dtype == DType::kText;
    const std::size_t most = text ? kMaxRequest : count * type.size;
    if (!append_values(tensor.dtype, tensor.data, data, most)) {
        return bad(tensor.name + ": data has a value that is no " + std::string(type.protocol) +
                   ", or too many values");
    }
    if (holds(tensor.dtype, tensor.data, count)) return std::nullopt;
    const auto got = text ? split_text(tensor.data).value_or(std::vector<std::string_view>{}).size()
                          : tensor.data.size() / type.size;
    return bad(tensor.name + ": data has " + std::to_string(got) + " values, shape needs " +
               std::to_string(count));
}

Result<Tensor> read_input(const Json& item, const TensorSpec& spec, const Values* listed,
                          const Bytes* binary) {
    const auto& name = spec.name;
    const Json* datatype = member(item, "datatype");
    if (datatype == nullptr || !is_text(*datatype, info(spec.dtype).protocol)) {
        return bad(name + ": datatype must be " + std::string(info(spec.dtype).protocol));
    }
    const Json* sizes = member(item, "shape");
    if (sizes == nullptr) return bad(name + ": shape is missing");
    auto shape = read_shape(*sizes, name);
    if (!shape) return shape.error();
    const auto count = element_count(*shape);
    if (!shape_fits(*shape, spec.shape) || !count || *count > kMaxRequest) {
        return bad(name + ": shape " + show(*shape) + " does not fit " + show(spec.shape));
    }
    Tensor tensor{name, spec.dtype, std::move(*shape), {}};
    if (binary != nullptr && member(item, "data") != nullptr) {
        return bad(name + ": has both data and binary_data_size");
    }
    if (binary == nullptr && listed == nullptr) return bad(name + ": data must be a list");
    const auto problem = binary != nullptr ? read_binary(tensor, *binary, *count)
                                           : read_values(tensor, *listed, *count);
    if (problem) return *problem;
    return tensor;
}

const Json* find_named(const Json& list, const std::string& name) {
    const Json* found = nullptr;
    for (const auto& item : list) {
        const Json* given = member(item, "name");
        if (given != nullptr && is_text(*given, name)) found = &item;
    }
    return found;
}

// The runtimes' own complaints about this would look like a fault of the server.
bool same_batch(const std::vector<Tensor>& inputs, const Description& description) {
    std::optional<std::int64_t> batch;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (!description.inputs[i].has_batch()) continue;
        if (batch.value_or(inputs[i].shape[0]) != inputs[i].shape[0]) return false;
        batch = inputs[i].shape[0];
    }
    return true;
}

Status read_inputs(const Document& document, Bytes rest, const Description& description,
                   InferRequest& request) {
    const Json* listed = member(document.root, "inputs");
    if (listed == nullptr || !listed->is_array()) return bad("inputs must be a list");
    const auto& inputs = *listed;
    if (inputs.size() != description.inputs.size()) {
        return bad("the model has " + std::to_string(description.inputs.size()) +
                   " inputs, the request " + std::to_string(inputs.size()));
    }
    const auto parts = split_binary(inputs, rest);
    if (!parts) return parts.error();
    for (const auto& spec : description.inputs) {
        const Json* item = find_named(inputs, spec.name);
        if (item == nullptr) return bad("there is no input " + spec.name);
        const auto part = parts->find(spec.name);
        auto tensor = read_input(*item, spec, document.list(*item),
                                 part == parts->end() ? nullptr : &part->second);
        if (!tensor) return tensor.error();
        request.inputs.push_back(std::move(*tensor));
    }
    if (!same_batch(request.inputs, description)) {
        return bad("the free axes of the inputs have different sizes");
    }
    return std::nullopt;
}

Status read_outputs(const Json& body, const Description& description, InferRequest& request) {
    const Json* asked = member(body, "outputs");
    if (asked == nullptr) return std::nullopt;
    if (!asked->is_array()) return bad("outputs must be a list");
    for (const auto& item : *asked) {
        const auto name = item.is_object() ? item.value("name", Json()) : Json();
        const bool known = std::any_of(description.outputs.begin(), description.outputs.end(),
                                       [&](const TensorSpec& spec) { return name == spec.name; });
        if (!known) return bad("outputs: there is no output " + dump(name));
        const auto text = name.get<std::string>();
        const auto parameters = parameters_of(item, text);
        if (!parameters) return parameters.error();
        // Where it is silent, the request's own word is good for all.
        const bool silent = member(**parameters, "binary_data") == nullptr;
        const auto flag = read_flag(**parameters, "binary_data", text);
        if (!flag) return flag.error();
        request.outputs[text] = silent ? request.binary_outputs : *flag;
    }
    return std::nullopt;
}

Status read_parameters(const Json& body, InferRequest& request) {
    const auto parameters = parameters_of(body, "the request");
    if (!parameters) return parameters.error();
    const auto binary = read_flag(**parameters, "binary_data_output", "the request");
    if (!binary) return binary.error();
    request.binary_outputs = *binary;
    const Json* timeout = member(**parameters, "timeout");
    if (timeout == nullptr) return std::nullopt;
    if (!timeout->is_number_unsigned() || timeout->get<std::uint64_t>() > 0xffffffff) {
        return bad("the request: timeout must be a number of microseconds");
    }
    // As in the protocol's reference server, 0 means none.
    const std::chrono::microseconds limit(timeout->get<std::int64_t>());
    if (limit.count() != 0) request.timeout = limit;
    return std::nullopt;
}

// An output of the answer, written as it goes: values of the library for all of it would cost more
// than the rest of a small answer.
void append_output(std::string& text, const Tensor& tensor, bool bytes) {
    text += '{';
    if (!bytes) {
        text += "\"data\":";
        append_json(text, tensor);
        text += ',';
    }
    text.append("\"datatype\":\"").append(info(tensor.dtype).protocol);
    text.append("\",\"name\":").append(quote(tensor.name));
    if (bytes) {
        text.append(",\"parameters\":{\"binary_data_size\":");
        text.append(std::to_string(tensor.data.size())).append("}");
    }
    text.append(",\"shape\":").append(show(tensor.shape)).append("}");
}

// Elements of an input in a request as large as it may be.
std::size_t elements_of(const TensorSpec& spec) {
    auto shape = spec.shape;
    if (spec.has_batch()) shape[0] = kMaxBatch;
    return std::min(element_count(shape).value_or(kMaxRequest), kMaxRequest);
}

// Values that JSON of so many bytes may have; each takes two of them at least.
std::size_t value_limit(const Description& description, std::size_t size) {
    if (size / 2 <= kFreeValues) return kFreeValues;
    std::size_t total = 0;
    for (const auto& spec : description.inputs) {
        total = std::min(total + elements_of(spec), kMaxRequest);
    }
    return std::max(total, kFreeValues);
}

}  // namespace

Result<InferRequest> parse_infer(std::string_view text, const Description& description,
                                 std::optional<std::size_t> json_size) {
    if (json_size.value_or(0) > text.size()) {
        return bad("Inference-Header-Content-Length is more than the request has");
    }
    const auto most = value_limit(description, json_size.value_or(text.size()));
    if (!json_size) {
        auto plain = parse_plain(text, description, most);
        if (plain && same_batch(plain->inputs, description)) return std::move(*plain);
    }
    const auto document = parse_document(text.substr(0, json_size.value_or(text.size())), 16, most);
    if (!document) return bad("the request is " + document.error().message);
    const Json* body = &document->root;
    if (!body->is_object()) return bad("the request must be an object");
    InferRequest request;
    if (const Json* id = member(*body, "id")) {
        if (!id->is_string()) return bad("id must be text");
        request.id = id->get_ref<const std::string&>();
    }
    if (auto problem = read_parameters(*body, request)) return *problem;
    const auto rest = std::as_bytes(std::span(text)).subspan(json_size.value_or(text.size()));
    if (auto problem = read_inputs(*document, rest, description, request)) return *problem;
    if (auto problem = read_outputs(*body, description, request)) return *problem;
    return request;
}

Result<InferAnswer> infer_answer(const Description& description, const InferRequest& request,
                                 const std::vector<Tensor>& outputs) {
    InferAnswer result;
    auto& body = result.body;
    body.reserve(kUsual);
    body = '{';
    if (!request.id.empty()) body.append("\"id\":").append(quote(request.id)).append(",");
    body.append("\"model_name\":").append(quote(description.name));
    body.append(",\"model_version\":").append(quote(description.version));
    body.append(",\"outputs\":[");
    std::vector<const Tensor*> binary;
    bool first = true;
    for (const auto& tensor : outputs) {
        const auto asked = request.outputs.find(tensor.name);
        if (!request.outputs.empty() && asked == request.outputs.end()) continue;
        const bool bytes = request.outputs.empty() ? request.binary_outputs : asked->second;
        if (bytes) {
            binary.push_back(&tensor);
        } else if (!json_has(tensor)) {
            return bad("output " + tensor.name +
                       " has values that JSON cannot have; ask for it with binary_data");
        }
        if (!std::exchange(first, false)) body += ',';
        append_output(body, tensor, bytes);
    }
    body += "]}";
    if (!binary.empty()) result.json_size = body.size();
    for (const auto* tensor : binary) {
        body.append(reinterpret_cast<const char*>(tensor->data.data()), tensor->data.size());
    }
    return result;
}

std::size_t request_limit(const Description& description) {
    std::size_t total = kEnvelope;
    for (const auto& spec : description.inputs) {
        const auto each = spec.dtype == DType::kText ? kBytesPerText : kBytesPerElement;
        // No sum overflows where sizes have 32 bits.
        total += std::min(elements_of(spec), kMaxRequest / each) * each;
        total = std::min(total, kMaxRequest);
    }
    return total;
}

}  // namespace inferd
