#include <doctest/doctest.h>

#include "metadata.hpp"

namespace inferd {
namespace {

class FixedSession final : public Session {
  public:
    Result<std::vector<Tensor>> run(const std::vector<Tensor>&) override {
        return std::vector<Tensor>{};
    }
    std::string provider() const override { return "Vx Delegate,CPU"; }
};

class FixedBackend final : public Backend {
  public:
    std::string name() const override { return "tflite"; }
    std::string version() const override { return "9.9"; }
    Result<std::unique_ptr<Session>> load(const Bundle&, const SessionOptions&) override {
        return Error{"", "nothing is loaded"};
    }
};

TEST_CASE("a server says who it is") {
    const auto json = server_metadata();
    CHECK(json["name"] == "inferd");
    CHECK(json["version"] == INFERD_VERSION);
    CHECK(json["extensions"] == Json::array({"binary_tensor_data"}));
}

TEST_CASE("a model says what was asked of it and what runs it") {
    const FixedBackend backend;
    Model model{};
    model.bundle.digest = "sha256:0";
    model.bundle.description.name = "m";
    model.bundle.description.version = "2.0";
    model.bundle.description.model_format = "tflite";
    model.bundle.description.inputs = {{"x", DType::kF16, {-1, 3}}, {"t", DType::kText, {1}}};
    model.backend = &backend;
    model.session = std::make_unique<FixedSession>();
    model.device = "npu";
    model.allow_fallback = true;
    const auto json = model_metadata(model);
    CHECK(json["name"] == "m");
    CHECK(json["versions"] == Json::array({"2.0"}));
    CHECK(json["platform"] == "tflite_tflite");
    CHECK(
        dump(json["inputs"]) ==
        R"([{"datatype":"FP16","name":"x","shape":[-1,3]},{"datatype":"BYTES","name":"t","shape":[1]}])");
    CHECK(json["outputs"] == Json::array());
    CHECK(dump(json["parameters"]) ==
          R"({"device":"npu","digest":"sha256:0","fallback":"allow","provider":"Vx Delegate,CPU",)"
          R"("runtime":"tflite","runtime_version":"9.9"})");
}

}  // namespace
}  // namespace inferd
