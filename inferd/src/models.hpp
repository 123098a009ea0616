// The loaded models: each verified bundle with its session.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend.hpp"
#include "bundle.hpp"
#include "config.hpp"
#include "pace.hpp"

namespace inferd {

struct Model {
    Bundle bundle;
    const Backend* backend;
    std::unique_ptr<Session> session;
    double load_ms = 0;
    std::string device = "cpu";  // what was asked for
    bool allow_fallback = false;
    int threads = 1;  // those that it was given
    Pace pace = {};   // of the event loop's thread

    const char* fallback() const { return allow_fallback ? "allow" : "deny"; }
};

class Models {
  public:
    // Loads everything that the configuration names, or says what cannot be loaded.
    static Result<std::unique_ptr<Models>> load(const Config& config);

    // The parts of it: every runtime's library, and one more model.
    Status load_libraries(const Config& config);
    Status add(const Config& config, const ModelConfig& model);
    void add(std::unique_ptr<Model> model) { models_.push_back(std::move(model)); }

    const std::vector<std::unique_ptr<Model>>& all() const { return models_; }
    Model* find(const std::string& name) const;

  private:
    Result<Backend*> backend(const Config& config, const std::string& name);

    // Sessions go before the libraries that made them.
    std::map<std::string, std::unique_ptr<Backend>> backends_;
    std::vector<std::unique_ptr<Model>> models_;
};

// Resident memory of this process, bytes; 0 where /proc does not tell.
std::uint64_t resident_bytes();

}  // namespace inferd
