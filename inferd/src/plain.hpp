// Infer requests in their plainest form, which most clients send, read without the JSON library:
// it takes longer for a small one than all the rest of the server.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "bundle.hpp"
#include "protocol.hpp"

namespace inferd {

// Reads a request that has nothing but `inputs`, each with its four members and a flat list of
// numbers, `most_values` in all, and maybe an `id`. Nothing for all others, also wrong ones: what
// is wrong is told by whoever reads them with the library.
std::optional<InferRequest> parse_plain(std::string_view text, const Description& description,
                                        std::size_t most_values = std::size_t{1} << 20);

}  // namespace inferd
