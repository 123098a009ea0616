// The body of an infer request, JSON alone and with bytes behind its first line, for models with
// one input or one of each type; what is accepted must also be answered, in JSON that is as good,
// and what is read without the JSON library be the same as with it.

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "protocol.hpp"

namespace {

inferd::Description describe(int first, int last) {
    inferd::Description description{};
    for (int i = first; i <= last; ++i) {
        const auto type = static_cast<inferd::DType>(i);
        description.inputs.push_back({std::string(inferd::info(type).bundle), type, {-1, 2}});
    }
    description.outputs = description.inputs;
    return description;
}

using Request = inferd::Result<inferd::InferRequest>;

bool same(const Request& a, const Request& b) {
    if (!a || !b) return !a && !b && a.error().message == b.error().message;
    return a->id == b->id &&
           std::equal(a->inputs.begin(), a->inputs.end(), b->inputs.begin(), b->inputs.end(),
                      [](const inferd::Tensor& x, const inferd::Tensor& y) {
                          return x.name == y.name && x.dtype == y.dtype && x.shape == y.shape &&
                                 x.data == y.data;
                      });
}

void check(std::string_view text, const inferd::Description& description) {
    // Where the size of the JSON is told, the library reads it.
    const auto whole = inferd::parse_infer(text, description, text.size());
    if (!same(inferd::parse_infer(text, description), whole)) std::abort();
    for (const auto& request : {whole, inferd::parse_infer(text, description, text.find('\n'))}) {
        if (!request) continue;
        const auto answer = inferd::infer_answer(description, *request, request->inputs);
        // What came as bytes JSON may not have.
        if (answer && !answer->json_size && !inferd::parse_json(answer->body)) std::abort();
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto kAll = describe(0, 12);
    static const auto kNumbers = describe(10, 10);
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    check(text, kAll);
    check(text, kNumbers);
    return 0;
}
