#include "metadata.hpp"

namespace inferd {
namespace {

Json tensor_metadata(const std::vector<TensorSpec>& specs) {
    auto list = Json::array();
    for (const auto& spec : specs) {
        list.push_back(
            {{"name", spec.name}, {"datatype", info(spec.dtype).protocol}, {"shape", spec.shape}});
    }
    return list;
}

}  // namespace

Json server_metadata() {
    return {
        {"name", "inferd"}, {"version", INFERD_VERSION}, {"extensions", {"binary_tensor_data"}}};
}

Json model_metadata(const Model& model) {
    const auto& description = model.bundle.description;
    return {{"name", description.name},
            {"versions", {description.version}},
            {"platform", model.backend->name() + "_" + description.model_format},
            {"inputs", tensor_metadata(description.inputs)},
            {"outputs", tensor_metadata(description.outputs)},
            {"parameters",
             {{"digest", model.bundle.digest},
              {"runtime", model.backend->name()},
              {"runtime_version", model.backend->version()},
              {"device", model.device},
              {"fallback", model.fallback()},
              {"provider", model.session->provider()}}}};
}

}  // namespace inferd
