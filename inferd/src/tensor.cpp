#include "tensor.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace inferd {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::array<DTypeInfo, 13> kTypes = {{
    {DType::kBool, 1, "bool", "BOOL", "BOOL"},
    {DType::kU8, 1, "uint8", "U8", "UINT8"},
    {DType::kI8, 1, "int8", "I8", "INT8"},
    {DType::kU16, 2, "uint16", "U16", "UINT16"},
    {DType::kI16, 2, "int16", "I16", "INT16"},
    {DType::kU32, 4, "uint32", "U32", "UINT32"},
    {DType::kI32, 4, "int32", "I32", "INT32"},
    {DType::kU64, 8, "uint64", "U64", "UINT64"},
    {DType::kI64, 8, "int64", "I64", "INT64"},
    {DType::kF16, 2, "float16", "F16", "FP16"},
    {DType::kF32, 4, "float32", "F32", "FP32"},
    {DType::kF64, 8, "float64", "F64", "FP64"},
    // safetensors has no text; golden.hpp says how it is stored.
    {DType::kText, 1, "string", "", "BYTES"},
}};

template <typename Field>
std::optional<DType> find(Field field, std::string_view name) {
    for (const auto& entry : kTypes) {
        if (entry.*field == name) return entry.type;
    }
    return std::nullopt;
}

struct Widen {
    template <typename T>
    double operator()(T value) const {
        return static_cast<double>(value);
    }
};

template <typename T, typename Function = Widen>
void read_each(const std::byte* data, const Spread& spread, double* values, Function widen = {}) {
    for (std::size_t i = 0; i < spread.count; ++i) {
        T value;
        std::memcpy(&value, data + (spread.first + i * spread.step) * sizeof(T), sizeof(T));
        values[i] = static_cast<double>(widen(value));
    }
}

}  // namespace

const DTypeInfo& info(DType type) { return kTypes[static_cast<std::size_t>(type)]; }

std::optional<DType> dtype_from_bundle(std::string_view name) {
    return find(&DTypeInfo::bundle, name);
}
std::optional<DType> dtype_from_safetensors(std::string_view name) {
    if (name.empty()) return std::nullopt;
    return find(&DTypeInfo::safetensors, name);
}
std::optional<DType> dtype_from_protocol(std::string_view name) {
    return find(&DTypeInfo::protocol, name);
}

std::optional<std::size_t> element_count(const std::vector<std::int64_t>& shape) {
    constexpr auto kMost =
        static_cast<std::uint64_t>(std::numeric_limits<std::ptrdiff_t>::max()) / 8;
    std::uint64_t count = 1;
    for (std::int64_t size : shape) {
        if (size < 0) return std::nullopt;
        if (size != 0 && count > kMost / static_cast<std::uint64_t>(size)) return std::nullopt;
        count *= static_cast<std::uint64_t>(size);
    }
    return static_cast<std::size_t>(count);
}

std::size_t rows_of(const std::vector<TensorSpec>& specs, const std::vector<Tensor>& inputs) {
    for (std::size_t i = 0; i < specs.size() && i < inputs.size(); ++i) {
        if (specs[i].has_batch()) return static_cast<std::size_t>(inputs[i].shape[0]);
    }
    return 1;
}

std::optional<std::vector<std::string_view>> split_text(std::span<const std::byte> data) {
    std::vector<std::string_view> elements;
    while (!data.empty()) {
        std::uint32_t size = 0;
        if (data.size() < sizeof size) return std::nullopt;
        std::memcpy(&size, data.data(), sizeof size);
        data = data.subspan(sizeof size);
        if (size > data.size()) return std::nullopt;
        elements.emplace_back(reinterpret_cast<const char*>(data.data()), size);
        data = data.subspan(size);
    }
    return elements;
}

void append_text(std::vector<std::byte>& data, std::string_view element) {
    const auto size = static_cast<std::uint32_t>(element.size());
    const auto* length = reinterpret_cast<const std::byte*>(&size);
    const auto* bytes = reinterpret_cast<const std::byte*>(element.data());
    data.insert(data.end(), length, length + sizeof size);
    data.insert(data.end(), bytes, bytes + element.size());
}

bool shape_fits(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& spec) {
    if (shape.size() != spec.size()) return false;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        const bool free = i == 0 && spec[0] == -1;
        if (free ? shape[i] < 1 : shape[i] != spec[i]) return false;
    }
    return true;
}

double element(DType type, const std::byte* data, std::size_t index) {
    double value = 0;
    read_elements(type, data, {index, 1, 1}, &value);
    return value;
}

void read_elements(DType type, const std::byte* data, const Spread& spread, double* values) {
    switch (type) {
        case DType::kBool:
        case DType::kU8:
            return read_each<std::uint8_t>(data, spread, values);
        case DType::kI8:
            return read_each<std::int8_t>(data, spread, values);
        case DType::kU16:
            return read_each<std::uint16_t>(data, spread, values);
        case DType::kI16:
            return read_each<std::int16_t>(data, spread, values);
        case DType::kU32:
            return read_each<std::uint32_t>(data, spread, values);
        case DType::kI32:
            return read_each<std::int32_t>(data, spread, values);
        case DType::kU64:
            return read_each<std::uint64_t>(data, spread, values);
        case DType::kI64:
            return read_each<std::int64_t>(data, spread, values);
        case DType::kF32:
            return read_each<float>(data, spread, values);
        case DType::kF64:
            return read_each<double>(data, spread, values);
        case DType::kF16:
            return read_each<std::uint16_t>(data, spread, values, half_to_float);
        case DType::kText:
            std::fill_n(values, spread.count, 0);
    }
}

float half_to_float(std::uint16_t half) {
    const int exponent = half >> 10 & 31;
    const int mantissa = half & 1023;
    const float sign = half & 0x8000 ? -1.0F : 1.0F;
    if (exponent == 31) {
        return mantissa != 0 ? std::numeric_limits<float>::quiet_NaN()
                             : sign * std::numeric_limits<float>::infinity();
    }
    if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -24);
    return sign * std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
}

std::uint16_t float_to_half(float value) {
    const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    if (std::isnan(value)) return sign | 0x7e00;
    const float size = std::fabs(value);
    if (size >= 65520.0F) return sign | 0x7c00;  // rounds to infinity
    if (size == 0) return sign;
    int exponent = 0;
    std::frexp(size, &exponent);
    // Below 2^-14 the steps are those of subnormal numbers.
    const int step = std::max(exponent - 11, -24);
    const auto units = static_cast<std::uint32_t>(std::nearbyint(std::ldexp(size, -step)));
    if (step == -24) return static_cast<std::uint16_t>(sign | units);
    return static_cast<std::uint16_t>(sign |
                                      ((static_cast<std::uint32_t>(step + 24) << 10) + units));
}

}  // namespace inferd
