// golden.safetensors, read for the model of tests/fixtures/bundles/good-float.

#include "golden.hpp"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using inferd::DType;
    const inferd::GoldenSpec spec{{{"x0", DType::kF32, {-1, 3}}}, {{"y", DType::kF32, {-1, 2}}}, 2};
    (void)inferd::read_golden(std::as_bytes(std::span(data, size)), spec);
    return 0;
}
