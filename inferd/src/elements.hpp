// Elements of tensors as JSON values and back.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "json.hpp"
#include "tensor.hpp"

namespace inferd {

// Appends values; false for one that the type cannot hold, and when there would be more than
// `most` bytes.
bool append_values(DType type, std::vector<std::byte>& data, const Values& values,
                   std::size_t most);

// The values as a flat list, if JSON has them.
Json values(const Tensor& tensor);

// Appends them as they are written, with less work for floating-point numbers.
void append_json(std::string& text, const Tensor& tensor);

// Whether JSON has them: it knows no infinity, nothing that is no number, and only text in UTF-8.
// It would be written all the same, as other values.
bool json_has(const Tensor& tensor);

// Whether the bytes are as many elements as `count`; of text they must also be well formed.
bool holds(DType type, std::span<const std::byte> data, std::size_t count);

}  // namespace inferd
