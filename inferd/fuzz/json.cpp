// JSON alone: what is taken can be written, and what was written is taken and means the same; a
// document beside which its lists stand is the same too.

#include "json.hpp"

#include <cstdint>
#include <cstdlib>

namespace {

// Puts the lists of a document back, without their nesting, which they have lost.
inferd::Json flat(const inferd::Values& values) {
    auto list = inferd::Json::array();
    using Kind = inferd::Values::Kind;
    for (const auto& item : values.items) {
        switch (item.kind) {
            case Kind::kOther:
                list.push_back(nullptr);
                break;
            case Kind::kBool:
                list.push_back(item.integer != 0);
                break;
            case Kind::kUnsigned:
                list.push_back(item.integer);
                break;
            case Kind::kNegative:
                list.push_back(item.negative);
                break;
            case Kind::kReal:
                list.push_back(item.real);
                break;
            case Kind::kText:
                list.push_back(values.texts.at(item.integer));
                break;
        }
    }
    return list;
}

void flatten(inferd::Json& list, inferd::Json& into) {
    for (auto& item : list) {
        if (item.is_array()) {
            flatten(item, into);
        } else {
            into.push_back(item.is_object() ? inferd::Json() : std::move(item));
        }
    }
}

// Compares member by member what can have a list with what the plain reader makes of it.
void compare(const inferd::Document& document, inferd::Json& plain) {
    auto root = document.root;
    if (!root.is_object()) {
        if (root != plain) std::abort();
        return;
    }
    for (auto& [name, member] : root.items()) {
        if (!member.is_array()) continue;
        for (auto& item : member) {
            if (!item.is_object() || document.list(item) == nullptr) continue;
            item["data"] = flat(*document.list(item));
        }
        auto& other = plain[name];
        for (auto& item : other) {
            if (!item.is_object() || !item.contains("data") || !item["data"].is_array()) continue;
            auto list = inferd::Json::array();
            flatten(item["data"], list);
            item["data"] = list;
        }
    }
    if (inferd::dump(root) != inferd::dump(plain)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view given(reinterpret_cast<const char*>(data), size);
    const auto value = inferd::parse_json(given);
    const auto document = inferd::parse_document(given, 32);
    if (bool(value) != bool(document)) std::abort();
    if (!value) {
        if (value.error().message != document.error().message) std::abort();
        if (value.error().message.empty()) std::abort();
        return 0;
    }
    auto plain = *value;
    compare(*document, plain);
    const auto text = inferd::dump(*value);
    const auto again = inferd::parse_json(text);
    // A text that is no UTF-8 is refused, so that nothing is replaced here.
    if (!again || inferd::dump(*again) != text) std::abort();
    return 0;
}
