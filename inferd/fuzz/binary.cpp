// The body of an infer request with tensors as bytes behind its JSON, whose size the first two
// bytes tell, for a model with numbers of 8, 16 and 32 bits and text; what is accepted must be
// answered in bytes, which must be taken again.

#include <cstdint>
#include <cstdlib>
#include <string>

#include "protocol.hpp"

namespace {

inferd::Description describe() {
    using inferd::DType;
    inferd::Description description{};
    description.name = "m";
    description.inputs = {{"a", DType::kU8, {-1, 2}},
                          {"b", DType::kF16, {-1, 3}},
                          {"c", DType::kF32, {-1, 1}},
                          {"t", DType::kText, {-1, 2}}};
    description.outputs = description.inputs;
    return description;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto kDescription = describe();
    if (size < 2) return 0;
    const std::size_t json_size = data[0] + std::size_t{256} * data[1];
    const std::string_view body(reinterpret_cast<const char*>(data) + 2, size - 2);
    auto request = inferd::parse_infer(body, kDescription, json_size);
    if (!request) return 0;
    if (request->inputs.size() != kDescription.inputs.size()) std::abort();
    for (const auto& tensor : request->inputs) {
        const auto count = inferd::element_count(tensor.shape);
        if (!count) std::abort();
        const bool text = tensor.dtype == inferd::DType::kText;
        if (text ? inferd::split_text(tensor.data).value().size() != *count
                 : tensor.data.size() != *count * inferd::info(tensor.dtype).size) {
            std::abort();
        }
    }
    request->outputs.clear();
    request->binary_outputs = true;
    const auto answered = inferd::infer_answer(kDescription, *request, request->inputs);
    if (!answered) std::abort();
    const auto& answer = *answered;
    if (!answer.json_size || *answer.json_size > answer.body.size()) std::abort();
    // Its outputs, called inputs, are the same tensors.
    auto json = *inferd::parse_json(std::string_view(answer.body).substr(0, *answer.json_size));
    json["inputs"] = json["outputs"];
    json.erase("outputs");
    const auto head = inferd::dump(json);
    const auto again = inferd::parse_infer(head + answer.body.substr(*answer.json_size),
                                           kDescription, head.size());
    if (!again) std::abort();
    for (std::size_t i = 0; i < request->inputs.size(); ++i) {
        if (again->inputs[i].data != request->inputs[i].data) std::abort();
    }
    return 0;
}
