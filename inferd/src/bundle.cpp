#include "bundle.hpp"

#include <set>
#include <utility>

#include "description_reader.hpp"
#include "file.hpp"
#include "json.hpp"
#include "sha256.hpp"

namespace inferd {
namespace {

constexpr std::uint64_t kMaxDescription = 1 << 20;
constexpr std::uint64_t kMaxSignature = 1024;
constexpr std::uint64_t kMaxDrift = 1 << 20;
constexpr std::string_view kManifest = "bundle.json";
constexpr std::string_view kSignature = "bundle.sig";

std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Status check_signed(const std::string& folder, std::span<const std::byte> manifest,
                    const PublicKey& key) {
    const std::string path = folder + "/" + std::string(kSignature);
    const auto size = regular_file_size(path);
    if (!size) return Error{"bad-signature", "no regular file bundle.sig"};
    if (*size > kMaxSignature) return Error{"bad-signature", "bundle.sig is over 1 KiB"};
    const auto file = MappedFile::open(path);
    if (!file) return Error{"bad-signature", file.error().message};
    return check_signature(manifest, text_of(file->bytes()), key);
}

Result<Bundle> read(const std::string& folder, const std::optional<Trust>& trust) {
    const std::string path = folder + "/" + std::string(kManifest);
    const auto size = regular_file_size(path);
    if (!size) return Error{"missing-manifest", "no regular file bundle.json"};
    if (*size > kMaxDescription) return Error{"too-large", "bundle.json is over 1 MiB"};
    const auto file = MappedFile::open(path);
    if (!file) return Error{"missing-manifest", file.error().message};
    const auto bytes = file->bytes();
    if (trust) {
        if (auto problem = check_signed(folder, bytes, trust->key)) return *problem;
    }
    auto description = parse_description(text_of(bytes));
    if (!description) return description.error();
    if (trust && description->rollback_version < trust->minimum_version) {
        return Error{"too-old", "rollback_version is " +
                                    std::to_string(description->rollback_version) +
                                    ", the least is " + std::to_string(trust->minimum_version)};
    }
    Sha256 hash;
    hash.update(bytes.data(), bytes.size());
    return Bundle{folder, "sha256:" + hash.hex(), std::move(*description)};
}

Status check_listing(const Bundle& bundle) {
    const auto names = list_folder(bundle.folder);
    if (!names) return Error{"missing-manifest", names.error().message};
    const std::set<std::string> present(names->begin(), names->end());
    const auto& files = bundle.description.files;
    for (const auto& name : present) {
        if (name != kManifest && name != kSignature && !files.contains(name)) {
            return Error{"extra-file", name + " is not listed"};
        }
    }
    for (const auto& [name, entry] : files) {
        if (!present.contains(name) || !regular_file_size(bundle.folder + "/" + name)) {
            return Error{"missing-file", "no regular file " + name};
        }
    }
    return std::nullopt;
}

Status check_contents(const Bundle& bundle) {
    for (const auto& [name, entry] : bundle.description.files) {
        const auto size = regular_file_size(bundle.folder + "/" + name);
        if (!size) return Error{"missing-file", size.error().message};
        if (*size != entry.size) {
            return Error{"size-mismatch", name + " has " + std::to_string(*size) + " bytes, not " +
                                              std::to_string(entry.size)};
        }
    }
    for (const auto& [name, entry] : bundle.description.files) {
        const auto digest = file_sha256(bundle.folder + "/" + name);
        if (!digest) return Error{"missing-file", digest.error().message};
        if (*digest != entry.sha256) return Error{"digest-mismatch", name + " is another file"};
    }
    return std::nullopt;
}

Status check_goldens(const Bundle& bundle) {
    for (const auto& check : bundle.description.checks) {
        const auto file = MappedFile::open(bundle.folder + "/" + check.file);
        if (!file) return Error{"golden-malformed", file.error().message};
        const auto samples = read_golden(file->bytes(), golden_spec(bundle.description, check));
        if (!samples) {
            return Error{samples.error().code, check.file + ": " + samples.error().message};
        }
    }
    return std::nullopt;
}

Status read_drift(Bundle& bundle) {
    const auto& name = bundle.description.drift_file;
    if (name.empty()) return std::nullopt;
    if (bundle.description.files.at(name).size > kMaxDrift) {
        return Error{"drift-malformed", name + " is over 1 MiB"};
    }
    const auto file = MappedFile::open(bundle.folder + "/" + name);
    if (!file) return Error{"drift-malformed", file.error().message};
    auto drift =
        parse_drift(text_of(file->bytes()), bundle.description.inputs, bundle.description.outputs);
    if (!drift) return Error{drift.error().code, name + ": " + drift.error().message};
    bundle.drift = std::move(*drift);
    return std::nullopt;
}

Error located(const std::string& folder, const Error& error) {
    return {error.code, folder + ": " + error.code + ": " + error.message};
}

}  // namespace

Result<Description> parse_description(std::string_view text) {
    if (text.size() > kMaxDescription) return Error{"too-large", "bundle.json is over 1 MiB"};
    const auto json = parse_json(text);
    if (!json) return json.error();
    return read_description(*json);
}

Result<Bundle> open_bundle(const std::string& folder, const std::optional<Trust>& trust,
                           std::string_view name) {
    auto bundle = read(folder, trust);
    if (!bundle) return located(folder, bundle.error());
    const auto& found = bundle->description.name;
    if (!name.empty() && found != name) {
        return located(folder, {"wrong-model", "it is " + found + ", not " + std::string(name)});
    }
    for (auto* check : {check_listing, check_contents, check_goldens}) {
        if (auto problem = check(*bundle)) return located(folder, *problem);
    }
    if (auto problem = read_drift(*bundle)) return located(folder, *problem);
    return bundle;
}

GoldenSpec golden_spec(const Description& description, const TensorsCheck& check) {
    return {description.inputs, description.outputs, check.samples};
}

}  // namespace inferd
