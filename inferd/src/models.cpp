#include "models.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "cores.hpp"

namespace inferd {

std::uint64_t resident_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::uint64_t total = 0;
    std::uint64_t resident = 0;
    statm >> total >> resident;
    return statm ? resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) : 0;
}

Result<std::unique_ptr<Models>> Models::load(const Config& config) {
    auto models = std::make_unique<Models>();
    for (const auto& entry : config.models) {
        if (auto problem = models->add(config, entry)) return *problem;
    }
    return models;
}

Model* Models::find(const std::string& name) const {
    for (const auto& model : models_) {
        if (model->bundle.description.name == name) return model.get();
    }
    return nullptr;
}

Status Models::add(const Config& config, const ModelConfig& entry) {
    auto bundle = open_bundle(entry.bundle, config.trust, entry.name);
    if (!bundle) return bundle.error();
    const std::string name = bundle->description.name;
    if (find(name) != nullptr) return Error{"", entry.bundle + ": " + name + " is loaded already"};
    const auto& format = bundle->description.model_format;
    const auto runtime = runtime_for(format);
    if (runtime.empty()) return Error{"", "no runtime reads " + format};
    const auto library = backend(config, runtime);
    if (!library) return library.error();
    const auto before = resident_bytes();
    const auto start = std::chrono::steady_clock::now();
    // More threads than processors only wait for each other.
    const int threads = std::min(entry.threads, static_cast<int>(usable_cores()));
    auto session =
        (*library)->load(*bundle, {threads, entry.device, entry.allow_fallback, entry.delegate});
    if (!session) return session.error();
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    const auto after = resident_bytes();
    if (entry.memory_limit && after > before && after - before > *entry.memory_limit) {
        return Error{"", name + ": loading took " + std::to_string(after - before) +
                             " bytes, the limit is " + std::to_string(*entry.memory_limit)};
    }
    add(std::unique_ptr<Model>(new Model{std::move(*bundle), *library, std::move(*session),
                                         took.count(), entry.device, entry.allow_fallback,
                                         threads}));
    return std::nullopt;
}

Status Models::load_libraries(const Config& config) {
    for (const auto& [name, path] : config.runtimes) {
        const auto library = backend(config, name);
        if (!library) return library.error();
    }
    return std::nullopt;
}

Result<Backend*> Models::backend(const Config& config, const std::string& name) {
    if (const auto found = backends_.find(name); found != backends_.end()) {
        return found->second.get();
    }
    const auto path = config.runtimes.find(name);
    if (path == config.runtimes.end()) return Error{"", "runtimes names no path for " + name};
    auto library = load_backend(name, path->second);
    if (!library) return library.error();
    return backends_.emplace(name, std::move(*library)).first->second.get();
}

}  // namespace inferd
