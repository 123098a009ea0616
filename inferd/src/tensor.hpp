// Tensors and their element types, by the names that bundles, safetensors and the protocol use.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inferd {

constexpr std::size_t kMaxRank = 8;

enum class DType { kBool, kU8, kI8, kU16, kI16, kU32, kI32, kU64, kI64, kF16, kF32, kF64, kText };

struct DTypeInfo {
    DType type;
    std::size_t size;              // bytes of an element; of text, where it varies, 1
    std::string_view bundle;       // bundle.json, numpy's name
    std::string_view safetensors;  // header of golden tensors
    std::string_view protocol;     // Open Inference Protocol
};

const DTypeInfo& info(DType type);
std::optional<DType> dtype_from_bundle(std::string_view name);
std::optional<DType> dtype_from_safetensors(std::string_view name);
std::optional<DType> dtype_from_protocol(std::string_view name);

// Name, type and shape, empty for a single value; a first dimension of -1 is free.
struct TensorSpec {
    std::string name;
    DType dtype;
    std::vector<std::int64_t> shape;

    bool has_batch() const { return !shape.empty() && shape[0] == -1; }
};

// Values in row-major order, in the byte order of the machine (little endian on all we build for).
// Text is as the protocol's binary form has it: each element after its length in 4 bytes.
struct Tensor {
    std::string name;
    DType dtype = DType::kF32;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> data;
};

// Product of a shape without free axes; nothing if it is negative or does not fit.
std::optional<std::size_t> element_count(const std::vector<std::int64_t>& shape);

// How many samples the inputs are: the size of their free first axis, else 1.
std::size_t rows_of(const std::vector<TensorSpec>& specs, const std::vector<Tensor>& inputs);

// The elements of text in its binary form, which it must fill exactly; they point into `data`.
std::optional<std::vector<std::string_view>> split_text(std::span<const std::byte> data);
void append_text(std::vector<std::byte>& data, std::string_view element);

// Whether a concrete shape is one that a specification allows.
bool shape_fits(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& spec);

// Element `index` as a double; FP16 is widened, 64-bit integers may lose precision, text
// has no number and is 0.
double element(DType type, const std::byte* data, std::size_t index);

// `count` elements from `first` on, each `step` behind the one before.
struct Spread {
    std::size_t first;
    std::size_t count;
    std::size_t step;
};
// The same for several, which costs less than each alone.
void read_elements(DType type, const std::byte* data, const Spread& spread, double* values);

float half_to_float(std::uint16_t half);
std::uint16_t float_to_half(float value);

}  // namespace inferd
