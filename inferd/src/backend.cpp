#include "backend.hpp"

#include "onnxruntime_backend.hpp"

namespace inferd {

Result<std::unique_ptr<Backend>> load_backend(const std::string& runtime, const std::string& path) {
    if (runtime == "onnxruntime") return load_onnxruntime(path);
    return Error{"", "no runtime is called " + runtime};
}

std::string runtime_for(const std::string& format) {
    return format == "onnx" || format == "ort" ? "onnxruntime" : "";
}

}  // namespace inferd
