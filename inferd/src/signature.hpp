// Ed25519 signatures over bundle.json, by libsodium.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "result.hpp"

namespace inferd {

using PublicKey = std::array<unsigned char, 32>;

// A line of base64 that is a public key; the end of the line may be missing.
Result<PublicKey> parse_public_key(std::string_view text);

// Whether `signature`, a line of base64 of 64 bytes, is the key's over exactly these bytes; codes
// `bad-signature` and `wrong-signature`.
Status check_signature(std::span<const std::byte> signed_bytes, std::string_view signature,
                       const PublicKey& key);

}  // namespace inferd
