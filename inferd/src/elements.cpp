#include "elements.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

namespace inferd {
namespace {

using Kind = Values::Kind;

template <typename T>
bool read_integer(const Values::Value& value, T& result) {
    if (value.kind == Kind::kUnsigned) {
        if (value.integer > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return false;
        result = static_cast<T>(value.integer);
        return true;
    }
    if constexpr (std::numeric_limits<T>::is_signed) {
        result = static_cast<T>(value.negative);
        return value.kind == Kind::kNegative &&
               value.negative >= static_cast<std::int64_t>(std::numeric_limits<T>::min());
    }
    return false;
}

bool read_bool(const Values::Value& value, std::uint8_t& result) {
    result = value.integer != 0 ? 1 : 0;
    return value.kind == Kind::kBool;
}

bool read_double(const Values::Value& value, double& result) {
    switch (value.kind) {
        case Kind::kUnsigned:
            result = static_cast<double>(value.integer);
            return true;
        case Kind::kNegative:
            result = static_cast<double>(value.negative);
            return true;
        case Kind::kReal:
            result = value.real;
            return true;
        default:
            return false;
    }
}

bool read_float(const Values::Value& value, float& result) {
    double wide = 0;
    if (!read_double(value, wide)) return false;
    result = static_cast<float>(wide);
    return std::fabs(wide) <= static_cast<double>(std::numeric_limits<float>::max());
}

bool read_half(const Values::Value& value, std::uint16_t& result) {
    float wide = 0;
    if (!read_float(value, wide)) return false;
    result = float_to_half(wide);
    return std::isfinite(half_to_float(result));
}

template <typename T>
bool append_each(std::vector<std::byte>& data, const Values& values,
                 bool (*read)(const Values::Value&, T&)) {
    std::size_t at = data.size();
    data.resize(at + values.items.size() * sizeof(T));
    for (const auto& value : values.items) {
        T element{};
        if (!read(value, element)) return false;
        std::memcpy(data.data() + at, &element, sizeof element);
        at += sizeof element;
    }
    return true;
}

bool append_texts(std::vector<std::byte>& data, const Values& values, std::size_t most) {
    for (const auto& value : values.items) {
        if (value.kind != Kind::kText || data.size() >= most) return false;
        append_text(data, values.texts[static_cast<std::size_t>(value.integer)]);
    }
    return true;
}

// Whether no element has all bits of its exponent set.
template <typename Bits>
bool all_finite(const std::vector<std::byte>& data, Bits exponent) {
    for (std::size_t at = 0; at + sizeof(Bits) <= data.size(); at += sizeof(Bits)) {
        Bits bits;
        std::memcpy(&bits, data.data() + at, sizeof bits);
        if ((bits & exponent) == exponent) return false;
    }
    return true;
}

Json number(const Tensor& tensor, std::size_t i) {
    const std::byte* at = tensor.data.data();
    if (tensor.dtype == DType::kBool) return element(tensor.dtype, at, i) != 0;
    if (tensor.dtype >= DType::kF16) return element(tensor.dtype, at, i);
    if (tensor.dtype == DType::kU64) {
        std::uint64_t wide;
        std::memcpy(&wide, at + i * sizeof wide, sizeof wide);
        return wide;
    }
    if (tensor.dtype == DType::kI64) {
        std::int64_t wide;
        std::memcpy(&wide, at + i * sizeof wide, sizeof wide);
        return wide;
    }
    return static_cast<std::int64_t>(element(tensor.dtype, at, i));
}

}  // namespace

bool append_values(DType type, std::vector<std::byte>& data, const Values& values,
                   std::size_t most) {
    if (type == DType::kText) return append_texts(data, values, most);
    if (data.size() > most || values.items.size() > (most - data.size()) / info(type).size) {
        return false;
    }
    switch (type) {
        case DType::kBool:
            return append_each<std::uint8_t>(data, values, read_bool);
        case DType::kU8:
            return append_each<std::uint8_t>(data, values, read_integer);
        case DType::kI8:
            return append_each<std::int8_t>(data, values, read_integer);
        case DType::kU16:
            return append_each<std::uint16_t>(data, values, read_integer);
        case DType::kI16:
            return append_each<std::int16_t>(data, values, read_integer);
        case DType::kU32:
            return append_each<std::uint32_t>(data, values, read_integer);
        case DType::kI32:
            return append_each<std::int32_t>(data, values, read_integer);
        case DType::kU64:
            return append_each<std::uint64_t>(data, values, read_integer);
        case DType::kI64:
            return append_each<std::int64_t>(data, values, read_integer);
        case DType::kF16:
            return append_each<std::uint16_t>(data, values, read_half);
        case DType::kF32:
            return append_each<float>(data, values, read_float);
        case DType::kF64:
            return append_each<double>(data, values, read_double);
        case DType::kText:
            break;
    }
    return false;
}

Json values(const Tensor& tensor) {
    auto list = Json::array();
    if (tensor.dtype == DType::kText) {
        const auto elements = split_text(tensor.data);
        if (elements) list.get_ref<Json::array_t&>().assign(elements->begin(), elements->end());
        return list;
    }
    const std::size_t count = tensor.data.size() / info(tensor.dtype).size;
    auto& items = list.get_ref<Json::array_t&>();
    items.reserve(count);
    for (std::size_t i = 0; i < count; ++i) items.push_back(number(tensor, i));
    return list;
}

void append_json(std::string& text, const Tensor& tensor) {
    if (tensor.dtype < DType::kF16 || tensor.dtype == DType::kText) {
        text += dump(values(tensor));
        return;
    }
    text += '[';
    const std::size_t count = tensor.data.size() / info(tensor.dtype).size;
    for (std::size_t i = 0; i < count; ++i) {
        if (i > 0) text += ',';
        // With which the library writes a number too; a value of it for each would cost more.
        std::array<char, 64> digits;
        const char* end = nlohmann::detail::to_chars(digits.data(), digits.data() + digits.size(),
                                                     element(tensor.dtype, tensor.data.data(), i));
        text.append(digits.data(), static_cast<std::size_t>(end - digits.data()));
    }
    text += ']';
}

bool json_has(const Tensor& tensor) {
    switch (tensor.dtype) {
        case DType::kF16:
            return all_finite<std::uint16_t>(tensor.data, 0x7c00);
        case DType::kF32:
            return all_finite<std::uint32_t>(tensor.data, 0x7f800000);
        case DType::kF64:
            return all_finite<std::uint64_t>(tensor.data, 0x7ff0000000000000);
        case DType::kText: {
            const auto elements = split_text(tensor.data);
            return elements && std::all_of(elements->begin(), elements->end(), is_utf8);
        }
        default:
            return true;
    }
}

bool holds(DType type, std::span<const std::byte> data, std::size_t count) {
    if (type != DType::kText) return data.size() == count * info(type).size;
    const auto elements = split_text(data);
    return elements && elements->size() == count;
}

}  // namespace inferd
