// Sealed model bundles: bundle.json, and whether the folder is what it says (bundle-format.md).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "drift.hpp"
#include "golden.hpp"
#include "result.hpp"
#include "signature.hpp"
#include "tensor.hpp"

namespace inferd {

struct TensorsCheck {
    std::string file;
    std::size_t samples;
    double rtol;
    double atol;
    bool top1;
};

struct FileEntry {
    std::uint64_t size;
    std::string sha256;
};

// What a device needs of bundle.json.
struct Description {
    std::string name;
    std::string version;
    std::string task;
    std::string model_file;
    std::string model_format;
    std::vector<TensorSpec> inputs;
    std::vector<TensorSpec> outputs;
    std::vector<TensorsCheck> checks;
    std::map<std::string, FileEntry> files;
    std::uint64_t rollback_version;
    std::string drift_file = {};  // empty if there is none
};

struct Bundle {
    std::string folder;
    std::string digest;  // `sha256:` and 64 hex digits
    Description description;
    DriftReference drift = {};  // empty if the bundle has none
};

// Whose bundles are taken: those that the key signed and that are not older than this.
struct Trust {
    PublicKey key{};
    std::uint64_t minimum_version = 0;
};

// Parses bundle.json; codes `not-json`, `unknown-format`, `schema`, `bad-path`, `unlisted-file`.
Result<Description> parse_description(std::string_view text);

// Reads and verifies a whole folder; the message begins with the folder and the code. With `trust`
// the signature is checked before anything of bundle.json is interpreted; with `name` a bundle of
// another model is refused, code `wrong-model`.
Result<Bundle> open_bundle(const std::string& folder,
                           const std::optional<Trust>& trust = std::nullopt,
                           std::string_view name = {});

// What the golden file of a check must hold.
GoldenSpec golden_spec(const Description& description, const TensorsCheck& check);

}  // namespace inferd
