#include "sha256.hpp"

#include <doctest/doctest.h>

#include <string>

namespace {

std::string digest(const std::string& text) {
    inferd::Sha256 hash;
    hash.update(text.data(), text.size());
    return hash.hex();
}

}  // namespace

// The examples of FIPS 180-4's test vectors.
TEST_CASE("known digests") {
    CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(digest(std::string(1000000, 'a')) ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("the size of the parts does not matter") {
    const std::string text(300, 'x');
    for (std::size_t part : {1, 7, 63, 64, 65, 299}) {
        inferd::Sha256 hash;
        for (std::size_t at = 0; at < text.size(); at += part) {
            hash.update(text.data() + at, std::min(part, text.size() - at));
        }
        CHECK(hash.hex() == digest(text));
    }
}
