// bundle.json

#include <cstdint>

#include "bundle.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    (void)inferd::parse_description({reinterpret_cast<const char*>(data), size});
    return 0;
}
