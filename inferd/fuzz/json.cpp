// JSON alone: what is taken can be written, and what was written is taken and means the same.

#include "json.hpp"

#include <cstdint>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto value = inferd::parse_json({reinterpret_cast<const char*>(data), size});
    if (!value) {
        if (value.error().message.empty()) std::abort();
        return 0;
    }
    const auto text = inferd::dump(*value);
    const auto again = inferd::parse_json(text);
    // A text that is no UTF-8 is refused, so that nothing is replaced here.
    if (!again || inferd::dump(*again) != text) std::abort();
    return 0;
}
