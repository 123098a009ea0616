#include "signature.hpp"

#include <sodium.h>

namespace inferd {
namespace {

// The bytes of one line of base64 with padding; nothing may stand around it but the line's end.
// The decoder takes some bytes above 127 for letters, so that only ASCII is given to it.
template <std::size_t Size>
bool decode(std::string_view text, std::array<unsigned char, Size>& bytes) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    std::size_t length = 0;
    for (const char letter : text) {
        if ((static_cast<unsigned char>(letter) & 0x80U) != 0) return false;
    }
    return sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &length,
                             nullptr, sodium_base64_VARIANT_ORIGINAL) == 0 &&
           length == Size;
}

}  // namespace

Result<PublicKey> parse_public_key(std::string_view text) {
    PublicKey key{};
    if (!decode(text, key)) return Error{"", "no base64 of a public key of 32 bytes"};
    return key;
}

Status check_signature(std::span<const std::byte> signed_bytes, std::string_view signature,
                       const PublicKey& key) {
    std::array<unsigned char, crypto_sign_BYTES> bytes{};
    if (!signature.ends_with('\n') || !decode(signature, bytes)) {
        return Error{"bad-signature", "bundle.sig is no base64 of 64 bytes"};
    }
    // Without sodium_init(): it makes ready random numbers and what depends on the processor, and
    // this check needs neither.
    if (crypto_sign_verify_detached(bytes.data(),
                                    reinterpret_cast<const unsigned char*>(signed_bytes.data()),
                                    signed_bytes.size(), key.data()) != 0) {
        return Error{"wrong-signature", "bundle.sig is not this key's, or bundle.json was changed"};
    }
    return std::nullopt;
}

}  // namespace inferd
