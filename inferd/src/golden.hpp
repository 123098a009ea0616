// Golden tensors: the safetensors format, read strictly (bundle-format.md).
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "result.hpp"
#include "tensor.hpp"

namespace inferd {

// One recorded run of the model.
struct Sample {
    std::vector<Tensor> inputs;
    std::vector<Tensor> outputs;
};

// What a golden file must agree with.
struct GoldenSpec {
    std::vector<TensorSpec> inputs;
    std::vector<TensorSpec> outputs;
    std::size_t samples = 0;
};

// Tensors of a safetensors file by name; fails with the code `golden-malformed`.
Result<std::map<std::string, Tensor>> read_safetensors(std::span<const std::byte> file);

// Samples in order; fails with `golden-malformed`, or `golden-mismatch` when they are not those
// that the specification names.
Result<std::vector<Sample>> read_golden(std::span<const std::byte> file, const GoldenSpec& spec);

}  // namespace inferd
