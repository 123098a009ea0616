#include <doctest/doctest.h>

#include <algorithm>

#include "bundle.hpp"
#include "fixtures.hpp"

namespace inferd {
namespace {

const std::vector<std::string> kCodes = {
    "missing-manifest", "too-large",        "not-json",        "unknown-format",  "schema",
    "bad-path",         "unlisted-file",    "extra-file",      "missing-file",    "size-mismatch",
    "digest-mismatch",  "golden-malformed", "golden-mismatch", "drift-malformed", "drift-mismatch"};

std::vector<std::filesystem::path> folders(const std::string& prefix) {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(fixtures())) {
        if (entry.path().filename().string().starts_with(prefix)) found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
}

TEST_CASE("good bundles verify") {
    const auto found = folders("good-");
    REQUIRE(found.size() >= 4);
    for (const auto& folder : found) {
        CAPTURE(folder);
        const auto bundle = open_bundle(folder.string());
        REQUIRE(bundle);
        CHECK(bundle->digest.starts_with("sha256:"));
        CHECK(bundle->digest.size() == 71);
        CHECK(bundle->description.name == "fixture");
    }
}

TEST_CASE("each invalid bundle fails with its code, and each code has a bundle") {
    std::vector<std::string> seen = {"too-large"};  // would be a large file; made below
    for (const auto& folder : folders("invalid-")) {
        const std::string name = folder.filename().string().substr(8);
        CAPTURE(name);
        const auto bundle = open_bundle(folder.string());
        REQUIRE_FALSE(bundle);
        const auto& error = bundle.error();
        CHECK((name == error.code || name.starts_with(error.code + "-")));
        CHECK(error.message.starts_with(folder.string() + ": " + error.code + ": "));
        seen.push_back(error.code);
    }
    for (const auto& code : kCodes) {
        CAPTURE(code);
        CHECK(std::find(seen.begin(), seen.end(), code) != seen.end());
    }
}

// RFC 8032, section 7.1, tests 2 and 3.
constexpr std::string_view kSignedBy = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=";
constexpr std::string_view kOther = "/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU=";

std::string code(const std::filesystem::path& folder, std::string_view key, std::uint64_t least) {
    const auto bundle = open_bundle(folder.string(), Trust{*parse_public_key(key), least});
    return bundle ? "good" : bundle.error().code;
}

TEST_CASE("only bundles that the key signed and that are new enough are taken") {
    const auto folder = fixtures() / "good-signed";
    CHECK(code(folder, kSignedBy, 0) == "good");
    CHECK(code(folder, kSignedBy, 3) == "good");
    CHECK(code(folder, kSignedBy, 4) == "too-old");
    CHECK(code(folder, kOther, 0) == "wrong-signature");
    CHECK(code(fixtures() / "good-float", kSignedBy, 0) == "bad-signature");
}

TEST_CASE("a signature is checked before anything is interpreted") {
    const TemporaryFolder folder;
    std::filesystem::copy(fixtures() / "good-signed", folder.path() / "b");
    std::ofstream(folder.path() / "b" / "bundle.json") << "not JSON";
    CHECK(code(folder.path() / "b", kSignedBy, 0) == "wrong-signature");
    std::ofstream(folder.path() / "b" / "bundle.sig") << std::string(1025, 'A');
    CHECK(code(folder.path() / "b", kSignedBy, 0) == "bad-signature");
}

TEST_CASE("another model is refused, before its files are read") {
    const TemporaryFolder folder;
    const auto copy = folder.path() / "b";
    std::filesystem::copy(fixtures() / "good-language-model", copy);
    CHECK(open_bundle(copy.string(), std::nullopt, "fixture"));
    std::filesystem::remove(copy / "model.gguf");
    CHECK(open_bundle(copy.string(), std::nullopt, "other").error().message ==
          copy.string() + ": wrong-model: it is fixture, not other");
}

TEST_CASE("bundle.json over 1 MiB is not read") {
    const TemporaryFolder folder;
    std::ofstream(folder.path() / "bundle.json") << std::string((1 << 20) + 1, ' ');
    CHECK(open_bundle(folder.path().string()).error().code == "too-large");
}

TEST_CASE("neither a link, a folder nor a pipe is a bundle.json") {
    const TemporaryFolder folder;
    const auto path = folder.path() / "bundle.json";
    std::filesystem::create_symlink(fixtures() / "good-float/bundle.json", path);
    CHECK(open_bundle(folder.path().string()).error().code == "missing-manifest");
    std::filesystem::remove(path);
    std::filesystem::create_directory(path);
    CHECK(open_bundle(folder.path().string()).error().code == "missing-manifest");
    std::filesystem::remove(path);
    const std::string command = "mkfifo '" + path.string() + "'";
    REQUIRE(std::system(command.c_str()) == 0);
    CHECK(open_bundle(folder.path().string()).error().code == "missing-manifest");
    CHECK(open_bundle("/no/such/folder").error().message ==
          "/no/such/folder: missing-manifest: no regular file bundle.json");
}

TEST_CASE("one changed byte anywhere in a bundle is noticed") {
    const TemporaryFolder folder;
    const auto copy = folder.path() / "bundle";
    std::filesystem::copy(fixtures() / "good-float", copy);
    const auto good = open_bundle(copy.string());
    REQUIRE(good);
    for (const auto* name : {"model.onnx", "golden.safetensors"}) {
        const auto text = read_text(copy / name);
        for (std::size_t at = 0; at < text.size(); at += 7) {
            auto changed = text;
            changed[at] = static_cast<char>(changed[at] ^ 1);
            std::ofstream(copy / name, std::ios::binary) << changed;
            REQUIRE(open_bundle(copy.string()).error().code == "digest-mismatch");
        }
        std::ofstream(copy / name, std::ios::binary) << text;
    }
    std::ofstream(copy / "bundle.json", std::ios::app) << " ";
    const auto other = open_bundle(copy.string());
    REQUIRE(other);
    CHECK(other->digest != good->digest);
}

}  // namespace
}  // namespace inferd
