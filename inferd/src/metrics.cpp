#include "metrics.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace inferd {
namespace {

// The locale is never set, so it has a point. std::to_chars would bring tables of 100 KB with it.
std::string number(double value) {
    std::array<char, 40> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.15g", value);
    return buffer.data();
}

std::string label(const std::string& name, const std::string& value) {
    std::string text = name + "=\"";
    for (const char c : value) {
        if (c == '\\' || c == '"') text += '\\';
        text += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    return text + "\"";
}

void head(std::string& text, const std::string& name, const std::string& type,
          const std::string& help) {
    text += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

void line(std::string& text, const std::string& name, const std::string& labels,
          const std::string& value) {
    text += name;
    if (!labels.empty()) text += "{" + labels + "}";
    text += " " + value + "\n";
}

void single(std::string& text, const std::string& name, const std::string& type,
            const std::string& help, double value) {
    head(text, name, type, help);
    line(text, name, "", number(value));
}

void write_models(std::string& text, const Models& models) {
    head(text, "inferd_model_info", "gauge", "A loaded model and what runs it; always 1.");
    for (const auto& model : models.all()) {
        const auto& description = model->bundle.description;
        const std::string labels =
            label("model", description.name) + "," + label("version", description.version) + "," +
            label("digest", model->bundle.digest) + "," + label("runtime", model->backend->name()) +
            "," + label("runtime_version", model->backend->version()) + "," +
            label("device", model->device) + "," + label("fallback", model->fallback()) + "," +
            label("provider", model->session->provider());
        line(text, "inferd_model_info", labels, "1");
    }
    head(text, "inferd_model_load_seconds", "gauge", "Time that the runtime took to load a model.");
    for (const auto& model : models.all()) {
        line(text, "inferd_model_load_seconds", label("model", model->bundle.description.name),
             number(model->load_ms / 1000));
    }
}

}  // namespace

void Histogram::add(std::chrono::duration<double> value) {
    const auto at = std::lower_bound(kBounds.begin(), kBounds.end(), value.count());
    ++counts_[static_cast<std::size_t>(at - kBounds.begin())];
    sum_ += value.count();
}

void Histogram::write(std::string& text, const std::string& name, const std::string& labels) const {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        total += counts_[i];
        const std::string bound = i < kBounds.size() ? number(kBounds[i]) : "+Inf";
        line(text, name + "_bucket", labels + "," + label("le", bound), std::to_string(total));
    }
    line(text, name + "_sum", labels, number(sum_));
    line(text, name + "_count", labels, std::to_string(total));
}

void Metrics::answered(const std::string& model, int status, std::chrono::duration<double> waited,
                       std::chrono::duration<double> ran) {
    auto& metrics = models_[model];
    ++metrics.requests[status];
    if (!metrics.queue) metrics.queue.emplace();
    metrics.queue->add(waited);
    if (ran.count() <= 0) return;
    if (!metrics.inference) metrics.inference.emplace();
    metrics.inference->add(ran);
}

void Metrics::write_histograms(std::string& text, const std::string& name, const std::string& help,
                               std::optional<Histogram> OfModel::*histogram) const {
    head(text, name, "histogram", help);
    for (const auto& [model, metrics] : models_) {
        if (metrics.*histogram) (metrics.*histogram)->write(text, name, label("model", model));
    }
}

void Metrics::write_counters(std::string& text) const {
    head(text, "inferd_requests_total", "counter", "Infer requests answered, by HTTP status.");
    for (const auto& [model, metrics] : models_) {
        for (const auto& [status, count] : metrics.requests) {
            line(text, "inferd_requests_total",
                 label("model", model) + "," + label("code", std::to_string(status)),
                 std::to_string(count));
        }
    }
    head(text, "inferd_http_responses_total", "counter",
         "All answers over HTTP, whatever was asked, by status.");
    for (const auto& [status, count] : responses_) {
        line(text, "inferd_http_responses_total", label("code", std::to_string(status)),
             std::to_string(count));
    }
    head(text, "inferd_reloads_total", "counter", "Reloads of the configuration, by their result.");
    for (const auto& [result, count] : reloads_) {
        line(text, "inferd_reloads_total", label("result", result), std::to_string(count));
    }
    // The counter does not tell whether a failure was mended since.
    single(text, "inferd_reload_successful", "gauge",
           "Whether the last reload succeeded; 0 while older models serve on.", reloaded_ ? 1 : 0);
}

void Metrics::observe(const Model& model, const std::vector<Tensor>& inputs,
                      const std::vector<Tensor>& outputs) {
    const auto& bundle = model.bundle;
    if (bundle.drift.empty()) return;
    const auto found = drift_.try_emplace(bundle.digest, bundle.drift).first;
    found->second.observe(bundle.description.inputs, inputs, outputs);
}

void Metrics::keep_drift_of(const Models& models) {
    std::erase_if(drift_, [&](const auto& entry) {
        return std::none_of(models.all().begin(), models.all().end(),
                            [&](const auto& model) { return model->bundle.digest == entry.first; });
    });
}

void Metrics::write_drift(std::string& text, const Models& models) const {
    std::string samples;
    std::string worst;
    std::string each;
    for (const auto& model : models.all()) {
        const auto found = drift_.find(model->bundle.digest);
        if (found == drift_.end()) continue;
        const auto& [digest, drift] = *found;
        const auto& description = model->bundle.description;
        const auto name = label("model", description.name);
        line(samples, "inferd_drift_samples", name, std::to_string(drift.samples()));
        const auto indices = drift.indices();
        std::optional<double> largest;
        for (const double index : indices) {
            if (!std::isnan(index)) largest = std::max(largest.value_or(index), index);
        }
        if (largest) line(worst, "inferd_drift_psi", name, number(*largest));
        for (std::size_t i = 0; i < indices.size(); ++i) {
            if (std::isnan(indices[i])) continue;
            const auto& statistic = drift.reference()[i];
            const auto& specs = statistic.input ? description.inputs : description.outputs;
            line(each, "inferd_drift_statistic_psi",
                 name + "," + label("side", statistic.input ? "input" : "output") + "," +
                     label("tensor", specs[statistic.tensor].name) + "," +
                     label("statistic", std::string(statistic.name())),
                 number(indices[i]));
        }
    }
    head(text, "inferd_drift_samples", "gauge", "Samples that the drift is measured over.");
    text += samples;
    head(text, "inferd_drift_psi", "gauge",
         "Population stability index against the evaluation data, the largest of a model.");
    text += worst;
    head(text, "inferd_drift_statistic_psi", "gauge",
         "Population stability index of one statistic of a tensor.");
    text += each;
}

std::string Metrics::render(const Models& models, const Gauges& gauges) const {
    std::string text;
    write_counters(text);
    write_histograms(text, "inferd_queue_seconds", "Time that a request waited for its model.",
                     &OfModel::queue);
    write_histograms(text, "inferd_inference_seconds", "Time that the runtime took.",
                     &OfModel::inference);
    write_models(text, models);
    write_drift(text, models);
    single(text, "inferd_queue_length", "gauge", "Requests that wait.",
           static_cast<double>(gauges.queue));
    single(text, "inferd_connections", "gauge", "Open connections.",
           static_cast<double>(gauges.connections));
    single(text, "process_resident_memory_bytes", "gauge", "Resident memory.",
           static_cast<double>(resident_bytes()));
    single(text, "process_start_time_seconds", "gauge", "Start of the process, Unix time.",
           static_cast<double>(started_));
    return text;
}

}  // namespace inferd
