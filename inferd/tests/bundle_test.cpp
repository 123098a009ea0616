#include "bundle.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace {

const std::filesystem::path kFixtures = INFERD_FIXTURES;

std::string read(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

}  // namespace

TEST_CASE("good fixtures verify") {
    int found = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kFixtures)) {
        if (!entry.path().filename().string().starts_with("good-")) continue;
        const auto bundle = inferd::open_bundle(entry.path().string());
        CAPTURE(entry.path());
        CHECK_MESSAGE(bundle, bundle.error().message);
        ++found;
    }
    CHECK(found >= 4);
}

TEST_CASE("invalid fixtures fail with the code in their name") {
    int found = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kFixtures)) {
        const auto name = entry.path().filename().string();
        if (!name.starts_with("invalid-")) continue;
        const auto bundle = inferd::open_bundle(entry.path().string());
        CAPTURE(name);
        REQUIRE(!bundle);
        CHECK(name.substr(8).starts_with(bundle.error().code));
        CHECK(bundle.error().message.starts_with(entry.path().string() + ": " +
                                                 bundle.error().code + ": "));
        ++found;
    }
    CHECK(found >= 40);
}

TEST_CASE("every cut of bundle.json is refused") {
    const auto text = read(kFixtures / "good-labels" / "bundle.json");
    REQUIRE(inferd::parse_description(text));
    for (std::size_t size = 0; size + 2 < text.size(); ++size) {
        CHECK(!inferd::parse_description(std::string_view(text).substr(0, size)));
    }
}

TEST_CASE("a description over 1 MiB is refused") {
    const auto result = inferd::parse_description(std::string((1 << 20) + 1, ' '));
    REQUIRE(!result);
    CHECK(result.error().code == "too-large");
}
