#include "json.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "numbers.hpp"

namespace inferd {
namespace {

constexpr std::size_t kDataDepth = 3;  // of an object that has `data`
// Values of a document besides those in its lists: the smallest take thirty times their text.
constexpr std::size_t kMaxOthers = std::size_t{1} << 16;

// Where the library reads; whoever takes something out of the text moves it on.
struct Cursor {
    const char* at;
    const char* end;

    std::string_view rest() const { return {at, static_cast<std::size_t>(end - at)}; }
};

// The library's way to the cursor; without one it is the end.
class Characters {
  public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = const char*;
    using reference = const char&;

    explicit Characters(Cursor* cursor) : cursor_(cursor) {}
    reference operator*() const { return *cursor_->at; }
    Characters& operator++() {
        ++cursor_->at;
        return *this;
    }
    // Only ever compared with the end.
    bool operator!=(const Characters&) const { return cursor_->at != cursor_->end; }
    bool operator==(const Characters& other) const { return !(*this != other); }

  private:
    Cursor* cursor_;
};

// Makes the values in the same pass that finds depth and doubled keys.
class Builder final : public nlohmann::json_sax<Json> {
  public:
    // Without `lists` all arrays are values as others are, and as many as there are.
    Builder(std::string_view text, int max_depth, std::vector<Values>* lists,
            std::size_t most_listed)
        : cursor_{text.data(), text.data() + text.size()},
          max_depth_(static_cast<std::size_t>(max_depth)),
          lists_(lists),
          most_listed_(most_listed) {}

    bool read() { return Json::sax_parse(Characters(&cursor_), Characters(nullptr), this); }

    Json root;
    std::string problem;

    bool null() override { return add(nullptr, Values::Kind::kOther); }
    bool boolean(bool value) override { return add(value, Values::Kind::kBool, value ? 1 : 0); }
    bool number_integer(number_integer_t value) override {
        return add(value, Values::Kind::kNegative, static_cast<std::uint64_t>(value));
    }
    bool number_unsigned(number_unsigned_t value) override {
        return add(value, Values::Kind::kUnsigned, value);
    }
    bool number_float(number_float_t value, const string_t&) override {
        if (!in_list()) return add(value, Values::Kind::kReal);
        if (!count()) return false;
        Values::Value item{Values::Kind::kReal, {}};
        item.real = value;
        lists_->back().items.push_back(item);
        return true;
    }
    bool string(string_t& value) override {
        if (!in_list()) return add(std::move(value), Values::Kind::kText);
        if (!count()) return false;
        auto& list = lists_->back();
        list.add(Values::Kind::kText, list.texts.size());
        list.texts.push_back(std::move(value));
        return true;
    }
    bool binary(binary_t&) override { return false; }

    bool start_object(std::size_t) override {
        if (!count()) return false;
        // An object among the values is none of them, but its keys are looked at.
        if (in_list()) {
            lists_->back().add(Values::Kind::kOther);
            stray_ = Json::object();
            return enter(&stray_);
        }
        return enter(place(Json::object()));
    }
    bool end_object() override {
        open_.pop_back();
        return true;
    }
    bool start_array(std::size_t) override {
        if (in_list()) return enter_list();
        if (!count()) return false;
        if (lists_ != nullptr && at_data()) {
            *member_ = Json::binary(Json::binary_t::container_type(), lists_->size());
            lists_->emplace_back();
            return enter_list();
        }
        return enter(place(Json::array()));
    }
    bool end_array() override {
        open_.pop_back();
        return true;
    }
    bool key(string_t& name) override {
        is_data_ = name == "data";
        const auto [at, added] = open_.back()->get_ref<Json::object_t&>().try_emplace(name);
        member_ = &at->second;
        if (added) return true;
        problem = "the key \"" + name + "\" is doubled";
        return false;
    }
    bool parse_error(std::size_t position, const std::string&,
                     const nlohmann::detail::exception&) override {
        problem = "not JSON at byte " + std::to_string(position + taken_);
        return false;
    }

  private:
    // Counts one more value; false when there are too many.
    bool count() {
        if (lists_ == nullptr) return true;
        if (in_list() ? ++listed_ <= most_listed_ : ++others_ <= kMaxOthers) return true;
        problem = "too long: it has more values than there may be";
        return false;
    }

    // Whether the array around the parser's place is one of `lists_`.
    bool in_list() const { return !open_.empty() && open_.back() == nullptr; }

    bool at_data() const {
        return is_data_ && open_.size() == kDataDepth && open_[0]->is_object() &&
               open_[1]->is_array() && open_[2]->is_object();
    }

    template <typename T>
    bool add(T&& value, Values::Kind kind, std::uint64_t integer = 0) {
        if (!count()) return false;
        if (in_list()) {
            lists_->back().add(kind, integer);
        } else {
            place(std::forward<T>(value));
        }
        return true;
    }

    Json* place(Json value) {
        if (open_.empty()) {
            root = std::move(value);
            return &root;
        }
        if (open_.back()->is_array()) {
            auto& array = open_.back()->get_ref<Json::array_t&>();
            return &array.emplace_back(std::move(value));
        }
        *member_ = std::move(value);
        return member_;
    }

    bool enter(Json* value) {
        open_.push_back(value);
        if (open_.size() <= max_depth_) return true;
        problem = "nested deeper than " + std::to_string(max_depth_) + " levels";
        return false;
    }

    bool enter_list() {
        if (!enter(nullptr)) return false;
        auto& items = lists_->back().items;
        const auto before = items.size();
        const auto size = take_numbers(cursor_.rest(), lists_->back(), most_listed_ - listed_);
        listed_ += items.size() - before;
        cursor_.at += size;
        taken_ += size;
        return true;
    }

    Cursor cursor_;
    std::size_t taken_ = 0;  // bytes that the library has not seen
    const std::size_t max_depth_;
    std::vector<Values>* lists_;
    const std::size_t most_listed_;
    std::size_t listed_ = 0;  // values in `lists_`
    std::size_t others_ = 0;
    std::vector<Json*> open_;  // objects and arrays; nothing for those of the last list
    Json* member_ = nullptr;   // the value of the last key
    bool is_data_ = false;
    Json stray_;  // the object in a list that is open now
};

Status build(Builder& builder) {
    if (builder.read()) return std::nullopt;
    return Error{"not-json", builder.problem};
}

}  // namespace

Result<Json> parse_json(std::string_view text, int max_depth) {
    Builder builder(text, max_depth, nullptr, 0);
    if (auto problem = build(builder)) return *problem;
    return std::move(builder.root);
}

Result<Document> parse_document(std::string_view text, int max_depth, std::size_t most_values) {
    Document document;
    Builder builder(text, max_depth, &document.lists, most_values);
    if (auto problem = build(builder)) return *problem;
    document.root = std::move(builder.root);
    return document;
}

const Values* Document::list(const Json& item) const {
    const auto data = item.find("data");
    // Text makes no binary value.
    if (data == item.end() || !data->is_binary()) return nullptr;
    return &lists[static_cast<std::size_t>(data->get_binary().subtype())];
}

bool is_utf8(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    for (std::size_t i = 0; i < text.size();) {
        const auto lead = byte(i++);
        if (lead < 0x80) continue;
        if (lead < 0xc2 || lead > 0xf4) return false;
        const std::size_t more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
        if (text.size() - i < more) return false;
        // Nothing longer than it need be, no half of a pair, nothing over U+10FFFF.
        const auto least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        const auto most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (byte(i) < least || byte(i) > most) return false;
        for (const auto end = i + more; i < end; ++i) {
            if ((byte(i) & 0xc0) != 0x80) return false;
        }
    }
    return true;
}

std::string dump(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string quote(const std::string& text) {
    const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
        return c >= ' ' && c <= '~' && c != '"' && c != '\\';
    });
    return plain ? '"' + text + '"' : dump(text);
}

}  // namespace inferd
