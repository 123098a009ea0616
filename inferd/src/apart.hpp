// The selftest of each model in a process of its own: what ends one leaves the others.
#pragma once

#include "config.hpp"
#include "json.hpp"
#include "result.hpp"

namespace inferd {

// The reports of all models, in their order. A model that cannot be loaded has `error`; one whose
// process was ended by a signal `signal` too, and so has one that took more than `seconds`;
// all have, where loading a runtime's library ends a process. Fails when a library is refused.
// There must be no other thread.
Result<Json> selftest_apart(const Config& config, unsigned seconds);

}  // namespace inferd
