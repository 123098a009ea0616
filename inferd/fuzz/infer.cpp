// The body of an infer request, JSON alone and with bytes behind its first line, for a model with
// one input of each type; what is accepted must also be answered.

#include <cstdint>
#include <cstdlib>

#include "protocol.hpp"

namespace {

inferd::Description describe() {
    inferd::Description description{};
    for (int i = 0; i < 13; ++i) {
        const auto type = static_cast<inferd::DType>(i);
        description.inputs.push_back({std::string(inferd::info(type).bundle), type, {-1, 2}});
    }
    description.outputs = description.inputs;
    return description;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto kDescription = describe();
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto line = text.find('\n');
    for (const auto json_size : {std::string_view::npos, line}) {
        const auto request = json_size == std::string_view::npos
                                 ? inferd::parse_infer(text, kDescription)
                                 : inferd::parse_infer(text, kDescription, json_size);
        if (!request) continue;
        const auto answer = inferd::infer_answer(kDescription, *request, request->inputs);
        if (answer.body.empty()) std::abort();
    }
    return 0;
}
