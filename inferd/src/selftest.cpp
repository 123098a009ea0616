#include "selftest.hpp"

#include <algorithm>
#include <chrono>

#include "compare.hpp"
#include "file.hpp"

namespace inferd {
namespace {

Result<std::vector<Sample>> load_samples(const Model& model, const TensorsCheck& check) {
    const auto file = MappedFile::open(model.bundle.folder + "/" + check.file);
    if (!file) return file.error();
    return read_golden(file->bytes(), golden_spec(model.bundle.description, check));
}

struct Score {
    double max_abs = 0;
    double max_rel = 0;
    std::size_t agreed = 0;
    bool within = true;
};

Status run_sample(Model& model, const Sample& sample, const TensorsCheck& check, Score& score) {
    const auto outputs = model.session->run(sample.inputs);
    if (!outputs) return outputs.error();
    for (std::size_t i = 0; i < outputs->size(); ++i) {
        const auto off = compare((*outputs)[i], sample.outputs[i], {check.rtol, check.atol});
        score.max_abs = std::max(score.max_abs, off.max_abs);
        score.max_rel = std::max(score.max_rel, off.max_rel);
        score.within = score.within && off.within;
        if (i == 0 && off.top1) ++score.agreed;
    }
    return std::nullopt;
}

Json run_check(Model& model, const TensorsCheck& check) {
    const auto samples = load_samples(model, check);
    if (!samples) return {{"kind", "tensors"}, {"pass", false}, {"error", samples.error().message}};
    Score score;
    for (const auto& sample : *samples) {
        if (const auto problem = run_sample(model, sample, check, score)) {
            return {{"kind", "tensors"}, {"pass", false}, {"error", problem->message}};
        }
    }
    const bool agreed = !check.top1 || score.agreed == samples->size();
    return {{"kind", "tensors"},
            {"samples", samples->size()},
            {"max_abs", score.max_abs},
            {"max_rel", score.max_rel},
            {"top1_agreement",
             static_cast<double>(score.agreed) / static_cast<double>(samples->size())},
            {"pass", score.within && agreed}};
}

}  // namespace

Json selftest_model(Model& model) {
    auto checks = Json::array();
    bool pass = true;
    for (const auto& check : model.bundle.description.checks) {
        checks.push_back(run_check(model, check));
        pass = pass && checks.back()["pass"].get<bool>();
    }
    return {{"name", model.bundle.description.name},
            {"digest", model.bundle.digest},
            {"runtime", model.backend->name()},
            {"runtime_version", model.backend->version()},
            {"device", model.device},
            {"fallback", model.fallback()},
            {"provider", model.session->provider()},
            {"checks", checks},
            {"pass", pass}};
}

Json bench_model(Model& model, int runs) {
    const auto samples = load_samples(model, model.bundle.description.checks.front());
    if (!samples) {
        return {{"name", model.bundle.description.name}, {"error", samples.error().message}};
    }
    std::vector<double> times;
    for (int i = 0; i < runs; ++i) {
        const auto start = std::chrono::steady_clock::now();
        const auto outputs = model.session->run(samples->front().inputs);
        const std::chrono::duration<double, std::milli> took =
            std::chrono::steady_clock::now() - start;
        if (!outputs) {
            return {{"name", model.bundle.description.name}, {"error", outputs.error().message}};
        }
        times.push_back(took.count());
    }
    std::sort(times.begin(), times.end());
    return {{"name", model.bundle.description.name},
            {"runs", runs},
            {"load_ms", model.load_ms},
            {"min_ms", times.front()},
            {"median_ms", times[times.size() / 2]},
            {"p99_ms", times[times.size() * 99 / 100]},
            {"rss_kib", resident_bytes() / 1024}};
}

}  // namespace inferd
