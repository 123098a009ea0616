// What a device proves by itself: every check of every bundle, and how long inference takes.
#pragma once

#include "json.hpp"
#include "models.hpp"

namespace inferd {

// Runs all checks of a model; docs/reference/device-contract.md has the keys of the report.
Json selftest_model(Model& model);

// Runs the first golden input `runs` times; times in milliseconds.
Json bench_model(Model& model, int runs);

}  // namespace inferd
