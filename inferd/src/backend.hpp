// What runs a model: one interface, one implementation a runtime library.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bundle.hpp"
#include "result.hpp"
#include "tensor.hpp"

namespace inferd {

// How a model is to run.
struct SessionOptions {
    int threads = 1;
    std::string device = "cpu";
    bool allow_fallback = false;
    std::string delegate;  // path of the library for a device that is not the CPU
};

// A loaded model; `run` may be called by one thread at a time.
class Session {
  public:
    virtual ~Session() = default;

    // Runs the model: inputs in the order of the description, outputs likewise.
    virtual Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) = 0;
    // Asks a run of another thread to end early, with the error `ended`; not every runtime can.
    virtual void end() {}
    // The execution provider or delegate that really runs the model.
    virtual std::string provider() const = 0;
};

// A runtime library, loaded once.
class Backend {
  public:
    virtual ~Backend() = default;

    virtual std::string name() const = 0;
    virtual std::string version() const = 0;
    virtual Result<std::unique_ptr<Session>> load(const Bundle& bundle,
                                                  const SessionOptions& options) = 0;
};

// Loads the library of a runtime by name; fails for a name that this server does not know.
Result<std::unique_ptr<Backend>> load_backend(const std::string& runtime, const std::string& path);

// The runtime that reads a model format, empty if none does.
std::string runtime_for(const std::string& format);

}  // namespace inferd
