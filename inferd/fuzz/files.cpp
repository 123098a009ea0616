// The small files, told apart by the first byte: `c`onfiguration, `d`rift.json, `k`ey and
// signature.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "config.hpp"
#include "drift.hpp"
#include "signature.hpp"

namespace {

void drift(std::string_view text) {
    using inferd::DType;
    const std::vector<inferd::TensorSpec> inputs = {{"x0", DType::kF32, {-1, 3}},
                                                    {"t", DType::kText, {-1}}};
    const std::vector<inferd::TensorSpec> outputs = {{"y", DType::kF32, {-1, 2}}};
    const auto reference = inferd::parse_drift(text, inputs, outputs);
    if (!reference) return;
    inferd::Drift streaming(*reference);
    inferd::Tensor x{"x0", DType::kF32, {500, 3}, std::vector<std::byte>(500 * 12)};
    inferd::Tensor y{"y", DType::kF32, {500, 2}, std::vector<std::byte>(500 * 8)};
    streaming.observe(inputs, {x}, {y});
    for (const double index : streaming.indices()) {
        if (!(index >= 0)) std::abort();
    }
}

void signature(std::string_view text) {
    const auto line = text.find('\n');
    const auto key = inferd::parse_public_key(text.substr(0, line));
    if (!key || line == std::string_view::npos) return;
    // Nobody has the private key of a key that was guessed.
    if (!inferd::check_signature({}, text.substr(line + 1), *key)) return;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
    if (data[0] == 'c') {
        // It may name a token's file; there is none of a name that is made up.
        (void)inferd::parse_config(text);
    } else if (data[0] == 'd') {
        drift(text);
    } else if (data[0] == 'k') {
        signature(text);
    }
    return 0;
}
