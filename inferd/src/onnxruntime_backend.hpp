// ONNX Runtime, through its C API, loaded at run time from the path that the configuration names.
#pragma once

#include <memory>
#include <string>

#include "backend.hpp"

namespace inferd {

Result<std::unique_ptr<Backend>> load_onnxruntime(const std::string& path);

}  // namespace inferd
