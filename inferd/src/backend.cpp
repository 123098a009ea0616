#include "backend.hpp"

#include "onnxruntime_backend.hpp"
#include "tflite_backend.hpp"

namespace inferd {

Result<std::unique_ptr<Backend>> load_backend(const std::string& runtime, const std::string& path) {
    if (runtime == "onnxruntime") return load_onnxruntime(path);
    if (runtime == "tflite") return load_tflite(path);
    return Error{"", "no runtime is called " + runtime};
}

std::string runtime_for(const std::string& format) {
    if (format == "tflite") return "tflite";
    return format == "onnx" || format == "ort" ? "onnxruntime" : "";
}

}  // namespace inferd
