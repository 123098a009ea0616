#include "elements.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace inferd {
namespace {

template <typename T>
void store(std::vector<std::byte>& data, T value) {
    const auto at = data.size();
    data.resize(at + sizeof(T));
    std::memcpy(data.data() + at, &value, sizeof(T));
}

template <typename T>
bool append_integer(std::vector<std::byte>& data, const Json& value) {
    if (value.is_number_unsigned()) {
        const auto number = value.get<std::uint64_t>();
        if (number > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return false;
        store(data, static_cast<T>(number));
        return true;
    }
    if (!value.is_number_integer()) return false;
    const auto number = value.get<std::int64_t>();
    if constexpr (std::numeric_limits<T>::is_signed) {
        if (number < static_cast<std::int64_t>(std::numeric_limits<T>::min())) return false;
        store(data, static_cast<T>(number));
        return true;
    }
    return false;
}

bool append(DType type, std::vector<std::byte>& data, const Json& value) {
    switch (type) {
        case DType::kBool:
            if (!value.is_boolean()) return false;
            store(data, static_cast<std::uint8_t>(value.get<bool>()));
            return true;
        case DType::kU8:
            return append_integer<std::uint8_t>(data, value);
        case DType::kI8:
            return append_integer<std::int8_t>(data, value);
        case DType::kU16:
            return append_integer<std::uint16_t>(data, value);
        case DType::kI16:
            return append_integer<std::int16_t>(data, value);
        case DType::kU32:
            return append_integer<std::uint32_t>(data, value);
        case DType::kI32:
            return append_integer<std::int32_t>(data, value);
        case DType::kU64:
            return append_integer<std::uint64_t>(data, value);
        case DType::kI64:
            return append_integer<std::int64_t>(data, value);
        case DType::kText:
            if (!value.is_string()) return false;
            append_text(data, value.get_ref<const std::string&>());
            return true;
        default:
            break;
    }
    if (!value.is_number()) return false;
    const double number = value.get<double>();
    if (type == DType::kF64) {
        store(data, number);
    } else if (std::fabs(number) > static_cast<double>(std::numeric_limits<float>::max())) {
        return false;
    } else if (type == DType::kF32) {
        store(data, static_cast<float>(number));
    } else {
        store(data, float_to_half(static_cast<float>(number)));
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

bool append_values(DType type, std::vector<std::byte>& data, const Json& value, std::size_t most) {
    if (!value.is_array()) return data.size() < most && append(type, data, value);
    // The depth was limited by the parser.
    return std::all_of(value.begin(), value.end(),
                       [&](const Json& item) { return append_values(type, data, item, most); });
}

Json values(const Tensor& tensor) {
    auto list = Json::array();
    if (tensor.dtype == DType::kText) {
        const auto elements = split_text(tensor.data);
        if (elements) list.get_ref<Json::array_t&>().assign(elements->begin(), elements->end());
        return list;
    }
    const std::size_t count = tensor.data.size() / info(tensor.dtype).size;
    for (std::size_t i = 0; i < count; ++i) list.push_back(number(tensor, i));
    return list;
}

bool holds(DType type, std::span<const std::byte> data, std::size_t count) {
    if (type != DType::kText) return data.size() == count * info(type).size;
    const auto elements = split_text(data);
    return elements && elements->size() == count;
}

}  // namespace inferd
