// The body of an infer request, for a model with one input of each type; what is accepted must
// also be answered.

#include <cstdint>
#include <cstdlib>

#include "protocol.hpp"

namespace {

inferd::Description describe() {
    inferd::Description description{};
    for (int i = 0; i < 12; ++i) {
        const auto type = static_cast<inferd::DType>(i);
        description.inputs.push_back({std::string(inferd::info(type).bundle), type, {-1, 2}});
    }
    description.outputs = description.inputs;
    return description;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto kDescription = describe();
    const auto request =
        inferd::parse_infer({reinterpret_cast<const char*>(data), size}, kDescription);
    if (!request) return 0;
    const auto answer = inferd::infer_answer(kDescription, *request, request->inputs);
    if (inferd::dump(answer).empty()) std::abort();
    return 0;
}
