#include "description_reader.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <set>
#include <utility>

namespace inferd {
namespace {

constexpr std::uint64_t kMaxFile = std::uint64_t{4} << 30;
constexpr std::uint64_t kMaxVersion = std::uint64_t{1} << 53;
constexpr std::int64_t kMaxSize = 0x7fffffff;

using Keys = std::initializer_list<std::string_view>;

bool among(std::string_view text, Keys values) {
    return std::find(values.begin(), values.end(), text) != values.end();
}

bool all_of(std::string_view text, std::string_view extra) {
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               extra.find(c) != std::string_view::npos;
    });
}

bool is_name(std::string_view text) {
    const bool lower =
        std::none_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
    return !text.empty() && text.size() <= 63 && text[0] != '-' && lower && all_of(text, "-");
}

bool is_hex_digest(std::string_view text) {
    return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

// Collects the first thing that is wrong; later questions then have harmless answers.
class Reader {
  public:
    Status problem;

    void fail(const std::string& where, const std::string& what) {
        if (!problem) problem = Error{"schema", where + ": " + what};
    }

    void keys(const Json& value, const std::string& where, Keys wanted, Keys optional = {}) {
        if (!value.is_object()) return fail(where, "must be an object");
        for (const auto& key : wanted) {
            if (!value.contains(key)) return fail(where, "has no " + std::string(key));
        }
        const auto more = std::count_if(optional.begin(), optional.end(),
                                        [&](auto key) { return value.contains(key); });
        if (value.size() != wanted.size() + static_cast<std::size_t>(more)) {
            fail(where, "has unknown keys");
        }
    }

    std::string text(const Json& value, const std::string& where) {
        if (value.is_string()) return value.get<std::string>();
        fail(where, "must be text");
        return {};
    }

    std::string choice(const Json& value, const std::string& where, Keys values) {
        const auto found = text(value, where);
        if (!among(found, values)) fail(where, "is none of the allowed values");
        return found;
    }

    std::uint64_t count(const Json& value, const std::string& where, std::uint64_t most) {
        if (value.is_number_unsigned() && value.get<std::uint64_t>() <= most) {
            return value.get<std::uint64_t>();
        }
        fail(where, "must be a whole number from 0 to " + std::to_string(most));
        return 0;
    }

    double number(const Json& value, const std::string& where, double most) {
        if (value.is_number()) {
            const double found = value.get<double>();
            if (std::isfinite(found) && found >= 0 && found <= most) return found;
        }
        fail(where, "must be a number that is not negative");
        return 0;
    }

    const Json& list(const Json& value, const std::string& where, std::size_t most) {
        static const Json kEmpty = Json::array();
        if (value.is_array() && !value.empty() && value.size() <= most) return value;
        fail(where, "must be a list of 1 to " + std::to_string(most));
        return kEmpty;
    }
};

// At most 8 sizes; only the first may be -1, which is free.
bool read_shape(const Json& value, std::vector<std::int64_t>& shape) {
    if (!value.is_array() || value.size() > kMaxRank) return false;
    for (const auto& size : value) {
        // Beyond 64 bits with a sign the library would wrap it.
        if (!size.is_number_integer() ||
            (size.is_number_unsigned() && size.get<std::uint64_t>() > kMaxSize)) {
            return false;
        }
        const auto number = size.get<std::int64_t>();
        if (number < (shape.empty() ? -1 : 0) || number > kMaxSize) return false;
        shape.push_back(number);
    }
    return true;
}

std::vector<TensorSpec> read_tensors(Reader& reader, const Json& value, const std::string& where) {
    std::vector<TensorSpec> specs;
    for (const auto& item : reader.list(value, where, 64)) {
        reader.keys(item, where, {"name", "dtype", "shape"});
        if (reader.problem) return {};
        TensorSpec spec{reader.text(item["name"], where + ".name"), DType::kF32, {}};
        const auto dtype = reader.text(item["dtype"], where + ".dtype");
        const auto known = dtype_from_bundle(dtype);
        if (known) spec.dtype = *known;
        if (!known) reader.fail(where + ".dtype", "is no dtype");
        if (spec.name.empty() || spec.name.size() > 256) reader.fail(where, "needs a name");
        if (!read_shape(item["shape"], spec.shape)) {
            reader.fail(where + ".shape", "is not allowed");
            return {};
        }
        specs.push_back(std::move(spec));
    }
    std::set<std::string> names;
    for (const auto& spec : specs) {
        if (!names.insert(spec.name).second) reader.fail(where, spec.name + " is doubled");
    }
    return specs;
}

std::vector<TensorsCheck> read_checks(Reader& reader, const Json& value) {
    std::vector<TensorsCheck> checks;
    for (const auto& item : reader.list(value, "checks", 16)) {
        reader.keys(item, "checks", {"kind", "file", "samples", "rtol", "atol", "top1"});
        if (reader.problem) return {};
        reader.choice(item["kind"], "checks.kind", {"tensors"});
        if (!item["top1"].is_boolean()) reader.fail("checks.top1", "must be true or false");
        TensorsCheck check{
            reader.text(item["file"], "checks.file"),
            static_cast<std::size_t>(reader.count(item["samples"], "checks.samples", 999)),
            reader.number(item["rtol"], "checks.rtol", 1e6),
            reader.number(item["atol"], "checks.atol", 1e6),
            item["top1"].is_boolean() && item["top1"].get<bool>()};
        if (check.samples == 0) reader.fail("checks.samples", "must be at least 1");
        checks.push_back(std::move(check));
    }
    return checks;
}

std::map<std::string, FileEntry> read_files(Reader& reader, const Json& value) {
    std::map<std::string, FileEntry> files;
    if (!value.is_object() || value.empty() || value.size() > 64) {
        reader.fail("files", "must list 1 to 64 files");
        return files;
    }
    for (const auto& [name, item] : value.items()) {
        reader.keys(item, "files", {"size", "sha256"});
        if (reader.problem) return {};
        FileEntry entry{reader.count(item["size"], "files.size", kMaxFile),
                        reader.text(item["sha256"], "files.sha256")};
        if (!is_hex_digest(entry.sha256)) reader.fail("files.sha256", "is no SHA-256");
        files.emplace(name, std::move(entry));
    }
    return files;
}

void check_small_parts(Reader& reader, const Json& json) {
    reader.keys(json["license"], "license", {"code", "weights"});
    if (reader.problem) return;
    for (const auto* key : {"code", "weights"}) {
        if (reader.text(json["license"][key], "license").empty()) {
            reader.fail("license", "must not be empty");
        }
    }
    reader.keys(json["resources"], "resources", {"weights_bytes", "activation_bytes"});
    if (reader.problem) return;
    reader.count(json["resources"]["weights_bytes"], "resources", std::uint64_t{1} << 62);
    reader.count(json["resources"]["activation_bytes"], "resources", std::uint64_t{1} << 62);
    const auto& origin = json["provenance"];
    reader.keys(origin, "provenance",
                {"source", "source_sha256", "builder", "runtime", "cpu_features"});
    if (reader.problem) return;
    for (const auto* key : {"source", "builder", "runtime"}) reader.text(origin[key], "provenance");
    if (!is_hex_digest(reader.text(origin["source_sha256"], "provenance"))) {
        reader.fail("provenance.source_sha256", "is no SHA-256");
    }
    if (!origin["cpu_features"].is_array())
        reader.fail("provenance.cpu_features", "must be a list");
    for (const auto& feature : origin["cpu_features"]) reader.text(feature, "provenance");
}

void check_accuracy(Reader& reader, const Json& value) {
    if (value.is_null()) return;
    reader.keys(value, "accuracy", {"metric", "source", "optimized", "samples", "min", "max_drop"});
    if (reader.problem) return;
    reader.text(value["metric"], "accuracy.metric");
    for (const auto* key : {"source", "optimized", "min"}) {
        reader.number(value[key], "accuracy", 100);
    }
    if (!value["max_drop"].is_null()) reader.number(value["max_drop"], "accuracy.max_drop", 100);
    reader.count(value["samples"], "accuracy.samples", std::uint64_t{1} << 53);
}

void check_reserved(Reader& reader, const Json& json) {
    if (!json["signature"].is_null()) {
        reader.keys(json["signature"], "signature", {"algorithm", "key_id"});
        if (reader.problem) return;
        reader.choice(json["signature"]["algorithm"], "signature", {"ed25519"});
        reader.text(json["signature"]["key_id"], "signature");
    }
    for (const auto* key : {"drift", "ai_bom"}) {
        if (json[key].is_null()) continue;
        reader.keys(json[key], key, {"file"});
        if (reader.problem) return;
        reader.text(json[key]["file"], key);
    }
    if (!json["labels"].is_null()) reader.text(json["labels"], "labels");
}

void check_model(Reader& reader, const Json& model) {
    reader.keys(model, "model", {"file", "format", "opset", "ir", "quantization"});
    if (reader.problem) return;
    reader.text(model["file"], "model.file");
    reader.choice(model["format"], "model.format", {"onnx", "ort", "tflite", "gguf"});
    reader.text(model["quantization"], "model.quantization");
    for (const auto* key : {"opset", "ir"}) {
        if (!model[key].is_null()) reader.count(model[key], "model", 1000);
    }
}

void read_text_check(Reader& reader, const Json& item) {
    reader.keys(item, "checks", {"kind", "file", "agreement", "perplexity"});
    if (reader.problem) return;
    reader.choice(item["kind"], "checks.kind", {"text"});
    reader.text(item["file"], "checks.file");
    for (const auto* key : {"agreement", "perplexity"}) {
        if (reader.number(item[key], "checks", 1) == 0) reader.fail("checks", "must be above 0");
    }
}

// A language model: it is another server's, so that its values are checked and not kept.
void check_text(Reader& reader, const Json& json) {
    const auto& text = json["text"];
    reader.keys(
        text, "text",
        {"architecture", "parameters", "context", "cache_bytes", "vocabulary", "tokenizer"});
    if (reader.problem) return;
    for (const auto* key : {"architecture", "tokenizer"}) {
        if (reader.text(text[key], "text").empty()) reader.fail("text", "must not be empty");
    }
    for (const auto& [key, most] :
         {std::pair("parameters", kMaxVersion), std::pair("context", std::uint64_t{kMaxSize}),
          std::pair("cache_bytes", std::uint64_t{1} << 62),
          std::pair("vocabulary", std::uint64_t{kMaxSize})}) {
        if (reader.count(text[key], "text", most) == 0) reader.fail("text", "must be above 0");
    }
    reader.choice(json["model"]["format"], "model.format", {"gguf"});
    for (const auto* key : {"inputs", "outputs"}) {
        if (json[key] != Json::array()) reader.fail(key, "must be an empty list");
    }
    for (const auto& item : reader.list(json["checks"], "checks", 16)) {
        read_text_check(reader, item);
    }
}

std::vector<std::string> named_files(const Json& json) {
    std::vector<std::string> names = {json["model"]["file"].get<std::string>()};
    if (json["labels"].is_string()) names.push_back(json["labels"].get<std::string>());
    for (const auto& check : json["checks"]) names.push_back(check["file"].get<std::string>());
    for (const auto* key : {"drift", "ai_bom"}) {
        if (!json[key].is_null()) names.push_back(json[key]["file"].get<std::string>());
    }
    return names;
}

Status check_paths(const Json& json) {
    for (const auto& [name, entry] : json["files"].items()) {
        if (!is_file_name(name)) return Error{"bad-path", "files: " + name};
    }
    const auto names = named_files(json);
    for (const auto& name : names) {
        if (!is_file_name(name)) return Error{"bad-path", name};
    }
    for (const auto& name : names) {
        if (!json["files"].contains(name)) return Error{"unlisted-file", name + " is not in files"};
    }
    return std::nullopt;
}

}  // namespace

bool is_file_name(std::string_view name) {
    return !name.empty() && name.size() <= 128 && name[0] != '.' && all_of(name, "._-");
}

Result<Description> read_description(const Json& json) {
    if (json.is_object() && json.contains("format") && json["format"].is_number_integer() &&
        json["format"] != 1) {
        return Error{"unknown-format", "format is " + dump(json["format"]) + ", known is 1"};
    }
    Reader reader;
    reader.keys(json, "bundle.json",
                {"format", "name", "version", "task", "license", "model", "inputs", "outputs",
                 "labels", "checks", "accuracy", "resources", "provenance", "files",
                 "rollback_version", "signature", "drift", "ai_bom"},
                {"text"});
    if (reader.problem) return *reader.problem;
    if (json["format"] != 1 || !json["format"].is_number_integer()) {
        reader.fail("format", "must be 1");
    }
    check_model(reader, json["model"]);
    if (reader.problem) return *reader.problem;
    const bool text = json.contains("text");
    if (text) check_text(reader, json);
    if (reader.problem) return *reader.problem;
    const auto tensors = [&](const char* key) {
        return text ? std::vector<TensorSpec>{} : read_tensors(reader, json[key], key);
    };
    Description result{reader.text(json["name"], "name"),
                       reader.text(json["version"], "version"),
                       reader.choice(json["task"], "task",
                                     {"classification", "detection", "regression", "speech",
                                      "generation", "other"}),
                       json["model"]["file"].get<std::string>(),
                       json["model"]["format"].get<std::string>(),
                       tensors("inputs"),
                       tensors("outputs"),
                       text ? std::vector<TensorsCheck>{} : read_checks(reader, json["checks"]),
                       read_files(reader, json["files"]),
                       reader.count(json["rollback_version"], "rollback_version", kMaxVersion)};
    if (!is_name(result.name)) reader.fail("name", "is no name");
    if (result.version.empty() || result.version.size() > 64 || !all_of(result.version, ".+~-")) {
        reader.fail("version", "is no version");
    }
    check_small_parts(reader, json);
    check_accuracy(reader, json["accuracy"]);
    check_reserved(reader, json);
    if (reader.problem) return *reader.problem;
    if (auto problem = check_paths(json)) return *problem;
    if (!json["drift"].is_null()) result.drift_file = json["drift"]["file"].get<std::string>();
    return result;
}

}  // namespace inferd
