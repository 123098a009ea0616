#include <doctest/doctest.h>
#include <sodium.h>

#include <array>
#include <string>

#include "signature.hpp"

using namespace inferd;

namespace {

std::string base64(const unsigned char* bytes, std::size_t size) {
    std::string text(sodium_base64_ENCODED_LEN(size, sodium_base64_VARIANT_ORIGINAL), '\0');
    sodium_bin2base64(text.data(), text.size(), bytes, size, sodium_base64_VARIANT_ORIGINAL);
    text.pop_back();
    return text;
}

struct Signer {
    std::array<unsigned char, crypto_sign_PUBLICKEYBYTES> open{};
    std::array<unsigned char, crypto_sign_SECRETKEYBYTES> secret{};

    Signer() { crypto_sign_keypair(open.data(), secret.data()); }
    PublicKey key() const { return *parse_public_key(base64(open.data(), open.size()) + "\n"); }
    std::string sign(std::string_view text) const {
        std::array<unsigned char, crypto_sign_BYTES> signature{};
        crypto_sign_detached(signature.data(), nullptr,
                             reinterpret_cast<const unsigned char*>(text.data()), text.size(),
                             secret.data());
        return base64(signature.data(), signature.size()) + "\n";
    }
};

std::string verdict(std::string_view text, std::string_view signature, const Signer& signer) {
    const auto problem = check_signature(std::as_bytes(std::span(text)), signature, signer.key());
    return problem ? problem->code : "good";
}

constexpr std::string_view kText = "{\"format\": 1}\n";

}  // namespace

TEST_CASE("the key's own signature over the same bytes is good") {
    const Signer signer;
    CHECK(verdict(kText, signer.sign(kText), signer) == "good");
}

TEST_CASE("another text or another key is refused") {
    const Signer signer;
    const Signer other;
    CHECK(verdict("{\"format\": 1}", signer.sign(kText), signer) == "wrong-signature");
    CHECK(verdict(kText, other.sign(kText), signer) == "wrong-signature");
}

TEST_CASE("what is no line of base64 of 64 bytes is refused") {
    const Signer signer;
    const auto good = signer.sign(kText);
    for (const auto& text :
         {std::string(), std::string("\n"), good + "\n", " " + good, good.substr(4), good + good,
          good.substr(0, 88), std::string(88, '!')}) {
        CHECK(verdict(kText, text, signer) == "bad-signature");
    }
}

TEST_CASE("every changed bit of a signature's line is noticed") {
    const Signer signer;
    const auto good = signer.sign(kText);
    REQUIRE(verdict(kText, good, signer) == "good");
    for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
        auto changed = good;
        changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
        CAPTURE(bit);
        CHECK(verdict(kText, changed, signer) != "good");
    }
}

TEST_CASE("a key has 32 bytes") {
    CHECK_FALSE(parse_public_key(""));
    CHECK_FALSE(parse_public_key("AAAA\n"));
    CHECK_FALSE(parse_public_key(std::string(44, '=')));
}
