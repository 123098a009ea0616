#include <doctest/doctest.h>

#include "plain.hpp"

namespace inferd {
namespace {

Description describe() {
    Description description{};
    description.inputs = {{"x", DType::kF32, {-1, 2}}, {"n", DType::kI8, {}}};
    return description;
}

constexpr const char* kN = R"({"name": "n", "datatype": "INT8", "shape": [], "data": [-7]})";

std::string request(const std::string& x, const std::string& rest = "") {
    return "{\"inputs\": [{" + x + "}, " + kN + "]" + rest + "}";
}

bool plain(const std::string& text) { return parse_plain(text, describe()).has_value(); }

TEST_CASE("a plain request is read as the library reads it") {
    for (const auto& text :
         {request(R"("name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2.5])"),
          request(
              "\"data\":[ 1,-2,\t3e0 ,4 ]\n,\"shape\":[2,2],\"datatype\":\"FP32\",\"name\":\"x\"",
              R"(, "id": "a}")"),
          "{\"id\":\"\",\"inputs\":[" + std::string(kN) +
              R"(,{"name":"x","shape":[1,2],"datatype":"FP32","data":[0.1,-0.0]}]}  )"}) {
        CAPTURE(text);
        const auto ours = parse_plain(text, describe());
        const auto other = parse_infer(text, describe(), text.size());
        REQUIRE(ours);
        REQUIRE(other);
        CHECK(ours->id == other->id);
        REQUIRE(ours->inputs.size() == 2);
        for (std::size_t i = 0; i < 2; ++i) {
            CHECK(ours->inputs[i].name == other->inputs[i].name);
            CHECK(ours->inputs[i].dtype == other->inputs[i].dtype);
            CHECK(ours->inputs[i].shape == other->inputs[i].shape);
            CHECK(ours->inputs[i].data == other->inputs[i].data);
        }
    }
}

TEST_CASE("what is not plain, or wrong, is left to the library") {
    const std::string good = R"("name": "x", "datatype": "FP32", "shape": [1, 2])";
    REQUIRE(plain(request(good + R"(, "data": [1, 2])")));
    for (const auto* data :
         {"", ", \"data\": []", ", \"data\": [1]", ", \"data\": [1, 2, 3]", ", \"data\": [[1, 2]]",
          ", \"data\": [1, true]", ", \"data\": [1, \"2\"]", ", \"data\": [1, 1e60]",
          ", \"data\": [1, 2,]", ", \"data\": [1 2]", ", \"data\": [1, 2",
          ", \"data\": [1, 2], \"data\": [1, 2]", ", \"data\": [1, 2], \"parameters\": {}",
          ", \"data\": [1, 2], \"name\": \"x\""}) {
        CAPTURE(data);
        CHECK_FALSE(plain(request(good + data)));
    }
    for (const auto* other :
         {R"("name": "y", "datatype": "FP32", "shape": [1, 2], "data": [1, 2])",
          R"("name": "\u0078", "datatype": "FP32", "shape": [1, 2], "data": [1, 2])",
          R"("name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1, 2])",
          R"("name": "x", "datatype": "FP32", "shape": [2, 1], "data": [1, 2])",
          R"("name": "x", "datatype": "FP32", "shape": [1, 2.0], "data": [1, 2])",
          R"("name": "x", "datatype": "FP32", "shape": [-1, 2], "data": [1, 2])",
          R"("name": "n", "datatype": "INT8", "shape": [], "data": [1])"}) {
        CAPTURE(other);
        CHECK_FALSE(plain(request(other)));
    }
    const auto x = good + R"(, "data": [1, 2])";
    for (const auto* rest : {R"(, "outputs": [])", R"(, "parameters": {})", R"(, "id": 1)",
                             R"(, "id": null)", R"(, "parameters": null)", R"(, "outputs": null)",
                             R"(, "id": "a", "id": "b")", ", \"inputs\": []", ",", "} {}"}) {
        CAPTURE(rest);
        CHECK_FALSE(plain(request(x, rest)));
    }
    for (const auto* text : {"", "{}", "[]", "{\"inputs\": []}", "{\"inputs\": [{}]}"}) {
        CAPTURE(text);
        CHECK_FALSE(plain(text));
    }
}

TEST_CASE("every beginning of a plain request is no plain one") {
    const auto text = request(R"("name":"x","datatype":"FP32","shape":[1,2],"data":[1,2])");
    for (std::size_t size = 0; size < text.size(); ++size) {
        // Bytes of their own, so that reading beyond them is found.
        CHECK_FALSE(plain(std::string(text.begin(), text.begin() + static_cast<long>(size))));
    }
}

}  // namespace
}  // namespace inferd
