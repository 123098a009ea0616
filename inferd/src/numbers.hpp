// Lists of plain numbers, which most of a request is, read without the JSON library: its lexer
// copies every character twice.
#pragma once

#include <cstddef>
#include <string_view>

#include "json.hpp"

namespace inferd {

// Where what is no white space of JSON begins.
inline const char* skip_space(const char* at, const char* end) {
    while (at != end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) ++at;
    return at;
}

// Appends the numbers that `text`, what stands behind a bracket, begins with, and returns how many
// of its bytes they are. There is an element or the closing bracket behind them, or an error; what
// is no number, numbers beyond what a double or 18 digits hold, and all behind the first `most` are
// left to the library.
std::size_t take_numbers(std::string_view text, Values& values, std::size_t most);

}  // namespace inferd
