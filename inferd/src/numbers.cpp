#include "numbers.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace inferd {
namespace {

constexpr std::size_t kUsual = 64;
constexpr std::size_t kMaxDigits = 18;  // of a whole number that has 64 bits
// A product or quotient of two doubles that are exact is rounded once, and so as strtod does it
// (W. Clinger, How to Read Floating Point Numbers Accurately, 1990).
constexpr std::size_t kExactDigits = 15;
constexpr std::array<double, 23> kPowers = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                            1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                            1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Moves on over digits, and adds them to a value that is of no use once they are too many.
std::size_t take_digits(const char*& at, const char* end, std::uint64_t& value) {
    const char* first = at;
    for (; at != end && is_digit(*at); ++at) {
        value = value * 10 + static_cast<std::uint64_t>(*at - '0');
    }
    return static_cast<std::size_t>(at - first);
}

// Moves on over an exponent if there is one; false for what is none, or has many digits.
bool take_exponent(const char*& at, const char* end, int& exponent) {
    if (at == end || (*at != 'e' && *at != 'E')) return true;
    ++at;
    const bool negative = at != end && *at == '-';
    if (at != end && (*at == '-' || *at == '+')) ++at;
    std::uint64_t digits = 0;
    const auto count = take_digits(at, end, digits);
    if (count == 0 || count > 4) return false;
    exponent += negative ? -static_cast<int>(digits) : static_cast<int>(digits);
    return true;
}

bool read_exactly(const char* begin, const char* end, double& real) {
    std::array<char, 64> text{};
    if (static_cast<std::size_t>(end - begin) >= text.size()) return false;
    std::copy(begin, end, text.begin());
    real = std::strtod(text.data(), nullptr);
    return std::isfinite(real);
}

// Moves on over a number; false for what is none, or one that is left to the library.
bool take_number(const char*& at, const char* end, Values::Value& value) {
    const char* begin = at;
    const bool negative = at != end && *at == '-';
    if (negative) ++at;
    const char* first = at;
    std::uint64_t digits = 0;
    auto count = take_digits(at, end, digits);
    if (count == 0 || (count > 1 && *first == '0')) return false;
    const char* whole = at;
    int exponent = 0;
    if (at != end && *at == '.') {
        const auto decimals = take_digits(++at, end, digits);
        if (decimals == 0) return false;
        count += decimals;
        exponent = -static_cast<int>(std::min<std::size_t>(decimals, 1000));
    }
    if (!take_exponent(at, end, exponent)) return false;
    if (at == whole) {
        value.kind = negative ? Values::Kind::kNegative : Values::Kind::kUnsigned;
        value.integer = negative ? ~digits + 1 : digits;
        return count <= kMaxDigits;
    }
    value.kind = Values::Kind::kReal;
    const auto power = static_cast<std::size_t>(std::abs(exponent));
    if (count > kExactDigits || power >= kPowers.size()) {
        return read_exactly(begin, at, value.real);
    }
    const auto exact = static_cast<double>(digits);
    value.real = exponent < 0 ? exact / kPowers[power] : exact * kPowers[power];
    if (negative) value.real = -value.real;
    return true;
}

}  // namespace

std::size_t take_numbers(std::string_view text, Values& values, std::size_t most) {
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    auto& items = values.items;
    if (items.empty()) items.reserve(kUsual);
    const char* last = begin;  // number
    const char* done = begin;
    for (;;) {
        const char* const next = skip_space(done, end);
        // A comma before the bracket is an error, which the library finds.
        if (done != begin && next != end && *next == ']') {
            items.pop_back();
            return static_cast<std::size_t>(last - begin);
        }
        const char* at = next;
        Values::Value value{};
        if (most-- == 0 || !take_number(at, end, value)) break;
        at = skip_space(at, end);
        if (at == end || (*at != ',' && *at != ']')) break;
        items.push_back(value);
        done = at;
        if (*at == ']') break;
        last = next;
        ++done;
    }
    return static_cast<std::size_t>(done - begin);
}

}  // namespace inferd
