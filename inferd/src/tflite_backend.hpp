// TensorFlow Lite, through its C API, loaded at run time from the path that the configuration
// names; NPUs by external delegates, each a library of its own.
#pragma once

#include <memory>
#include <string>

#include "backend.hpp"

namespace inferd {

Result<std::unique_ptr<Backend>> load_tflite(const std::string& path);

}  // namespace inferd
