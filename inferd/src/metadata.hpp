// What the server tells about itself and its models.
#pragma once

#include "json.hpp"
#include "models.hpp"

namespace inferd {

Json server_metadata();
Json model_metadata(const Model& model);

}  // namespace inferd
