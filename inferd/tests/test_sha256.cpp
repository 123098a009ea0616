#include <doctest/doctest.h>

#include <string>

#include "sha256.hpp"

namespace inferd {
namespace {

std::string sha256(const std::string& text, std::size_t step) {
    Sha256 hash;
    for (std::size_t at = 0; at < text.size(); at += step) {
        hash.update(text.data() + at, std::min(step, text.size() - at));
    }
    return hash.hex();
}

// The examples of FIPS 180-4.
TEST_CASE("SHA-256 of the standard's examples") {
    CHECK(sha256("", 1) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(sha256("abc", 3) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56) ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(sha256(std::string(1000000, 'a'), 4096) ==
          "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("SHA-256 does not depend on how the data are cut") {
    for (std::size_t size = 0; size < 200; ++size) {
        const std::string text(size, 'x');
        CHECK(sha256(text, 1) == sha256(text, 63));
        CHECK(sha256(text, 1) == sha256(text, 1000));
    }
}

}  // namespace
}  // namespace inferd
