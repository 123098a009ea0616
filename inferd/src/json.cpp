#include "json.hpp"

#include <set>
#include <vector>

namespace inferd {
namespace {

// Looks only at the structure, so that depth and doubled keys are known before values are made.
class Structure : public nlohmann::json_sax<Json> {
  public:
    explicit Structure(int max_depth) : max_depth_(max_depth) {}

    std::string problem;

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }

    bool start_object(std::size_t) override {
        keys_.emplace_back();
        return enter();
    }
    bool end_object() override {
        keys_.pop_back();
        --depth_;
        return true;
    }
    bool start_array(std::size_t) override { return enter(); }
    bool end_array() override {
        --depth_;
        return true;
    }
    bool key(string_t& name) override {
        if (keys_.back().insert(name).second) return true;
        problem = "the key \"" + name + "\" is doubled";
        return false;
    }
    bool parse_error(std::size_t position, const std::string&,
                     const nlohmann::detail::exception&) override {
        problem = "not JSON at byte " + std::to_string(position);
        return false;
    }

  private:
    bool enter() {
        if (++depth_ <= max_depth_) return true;
        problem = "nested deeper than " + std::to_string(max_depth_) + " levels";
        return false;
    }

    int max_depth_;
    int depth_ = 0;
    std::vector<std::set<std::string>> keys_;
};

}  // namespace

Result<Json> parse_json(std::string_view text, int max_depth) {
    Structure structure(max_depth);
    if (!Json::sax_parse(text, &structure)) return Error{"not-json", structure.problem};
    Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded()) return Error{"not-json", "not JSON"};
    return value;
}

std::string dump(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace inferd
