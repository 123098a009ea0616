#include "service.hpp"

#include <event2/buffer.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "cores.hpp"
#include "log.hpp"
#include "metadata.hpp"
#include "protocol.hpp"

namespace inferd {
namespace {

constexpr const char* kBinaryHeader = "Inference-Header-Content-Length";
constexpr const char* kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
// Most bytes of answers that have still to leave, unless one alone has more.
constexpr std::size_t kMaxUnsent = 64 << 20;
constexpr std::size_t kSmallAnswer = 64 << 10;  // as many as there are connections do not matter

// How often runs are looked at.
constexpr std::chrono::milliseconds kBeat{1000};
constexpr std::chrono::milliseconds kShortest{1};

// Whether it is certain enough that the model holds up the thread of the loop no longer than a
// model may: what a text takes depends on its length, and a device may hang.
bool quick(const Model& model, const InferRequest& request) {
    const auto& inputs = model.bundle.description.inputs;
    return model.device == "cpu" && model.pace.quick(rows_of(inputs, request.inputs)) &&
           std::none_of(inputs.begin(), inputs.end(),
                        [](const TensorSpec& spec) { return spec.dtype == DType::kText; });
}

std::size_t threads_for(const Models& models) {
    return std::clamp<std::size_t>(models.all().size(), 1, usable_cores());
}

// Takes as long for every text of this length.
bool same_secret(std::string_view given, std::string_view secret) {
    unsigned char differs = given.size() == secret.size() ? 0 : 1;
    for (std::size_t i = 0; i < given.size(); ++i) {
        differs |= static_cast<unsigned char>(given[i] ^ secret[i % secret.size()]);
    }
    return differs == 0;
}

Result<std::optional<std::size_t>> json_size_of(evhttp_request* request) {
    const auto text = header_of(request, kBinaryHeader);
    if (text.empty()) return std::optional<std::size_t>();
    std::size_t size = 0;
    const auto [end, failed] = std::from_chars(text.begin(), text.end(), size);
    if (failed != std::errc() || end != text.end()) {
        return Error{"", std::string(kBinaryHeader) + " must be a number"};
    }
    return std::optional<std::size_t>(size);
}

}  // namespace

Service::Service(const Config& config, std::shared_ptr<Models> models, event_base* base,
                 Connections& connections)
    : config_(config),
      token_(config.token),
      models_(std::move(models)),
      base_(base),
      connections_(connections),
      woken_(event_new(base, wake_.get(), EV_READ | EV_PERSIST, on_wake, this)),
      watch_(base, std::clamp<std::chrono::milliseconds>(config.run_limit / 4, kShortest, kBeat),
             on_watch, this),
      worker_(config.queue, threads_for(*models_), [this] { wake_.raise(); }) {
    event_add(woken_.get(), nullptr);
    connections_.each_refusal([this](int status) { metrics_.response(status); });
    connections_.each_beat([this] {
        worker_.expire(Clock::now());
        end_if_idle();
    });
}

void Service::handle(evhttp_request* request) {
    connections_.end(request);
    if (const char* problem = framing_problem(request)) {
        add_header(request, "Connection", "close");
        return fail(request, 400, problem);
    }
    const char* raw = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(request));
    std::string_view path = raw == nullptr ? "" : raw;
    if (stopping_) return fail(request, 503, "the server is stopping");
    std::optional<std::string> decoded;
    if (path.find('%') != std::string_view::npos) {
        decoded = decode_path(path);
        if (!decoded) return fail(request, 400, "the path has a wrong percent-escape");
        path = *decoded;
    }
    if (path == "/v2/health/live") return get(request, {{"live", true}});
    if (path == "/v2/health/ready") return get(request, {{"ready", true}});
    if (!authorized(request)) {
        add_header(request, "WWW-Authenticate", "Bearer");
        return fail(request, 401, "the bearer token is missing or wrong");
    }
    if (path == "/v2" || path == "/v2/") return get(request, server_metadata());
    if (path == "/metrics" && config_.metrics) return send_metrics(request);
    constexpr std::string_view kModels = "/v2/models/";
    if (path.starts_with(kModels)) return handle_model(request, path.substr(kModels.size()));
    fail(request, 404, "there is nothing at this path");
}

void Service::replace(std::shared_ptr<Models> models, const std::string& token) {
    models_ = std::move(models);
    metrics_.keep_drift_of(*models_);
    worker_.use(threads_for(*models_));
    token_ = token;
    metrics_.reload(true);
}

void Service::stop() {
    stopping_ = true;
    end_if_idle();
}

bool Service::authorized(evhttp_request* request) const {
    if (token_.empty()) return true;
    constexpr std::string_view kScheme = "Bearer ";
    const auto given = header_of(request, "Authorization");
    // The name of a scheme is not one of upper or lower case (RFC 9110, 11.1).
    return given.size() >= kScheme.size() &&
           evutil_ascii_strncasecmp(given.data(), kScheme.data(), kScheme.size()) == 0 &&
           same_secret(given.substr(kScheme.size()), token_);
}

void Service::handle_model(evhttp_request* request, std::string_view rest) {
    const auto slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    std::string_view verb = slash == std::string_view::npos ? "" : rest.substr(slash);
    Model* model = models_->find(name);
    if (model == nullptr) return fail(request, 404, "there is no model " + name);
    constexpr std::string_view kVersions = "/versions/";
    if (verb.starts_with(kVersions)) {
        verb.remove_prefix(kVersions.size());
        const auto end = verb.find('/');
        if (verb.substr(0, end) != model->bundle.description.version) {
            return fail(request, 404, name + " has no such version");
        }
        verb = end == std::string_view::npos ? "" : verb.substr(end);
    }
    if (verb.empty()) return get(request, model_metadata(*model));
    if (verb == "/ready") return get(request, {{"name", name}, {"ready", true}});
    if (verb == "/infer") return infer(request, *model);
    fail(request, 404, "there is nothing at this path");
}

void Service::get(evhttp_request* request, const Json& body) {
    if (reads(request)) reply(request, 200, dump(body));
}

bool Service::reads(evhttp_request* request) {
    const auto method = evhttp_request_get_command(request);
    if (method == EVHTTP_REQ_GET || method == EVHTTP_REQ_HEAD) return true;
    add_header(request, "Allow", "GET, HEAD");
    fail(request, 405, "use GET");
    return false;
}

void Service::reply(evhttp_request* request, int status, const std::string& body,
                    const char* type) {
    metrics_.response(status);
    connections_.answering([&] { send(request, status, body, type); });
}

void Service::fail(evhttp_request* request, int status, const std::string& message) {
    reply(request, status, dump({{"error", message}}));
}

void Service::send_metrics(evhttp_request* request) {
    if (!reads(request)) return;
    const Gauges gauges{worker_.waiting(), connections_.size()};
    reply(request, 200, metrics_.render(*models_, gauges), kMetricsType);
}

void Service::refuse(evhttp_request* request, const Model& model, int status,
                     const std::string& message) {
    metrics_.count(model.bundle.description.name, status);
    fail(request, status, message);
}

void Service::infer(evhttp_request* request, Model& model) {
    if (evhttp_request_get_command(request) != EVHTTP_REQ_POST) {
        add_header(request, "Allow", "POST");
        return fail(request, 405, "use POST");
    }
    const auto encoding = header_of(request, "Content-Encoding");
    if (!encoding.empty() && evutil_ascii_strcasecmp(encoding.data(), "identity") != 0) {
        return refuse(request, model, 415, "compressed requests are not supported");
    }
    evbuffer* input = evhttp_request_get_input_buffer(request);
    const std::size_t size = evbuffer_get_length(input);
    const auto& description = model.bundle.description;
    if (size > request_limit(description)) {
        return refuse(request, model, 413, "the request is too large for this model");
    }
    const auto json_size = json_size_of(request);
    if (!json_size) return refuse(request, model, 400, json_size.error().message);
    const auto* bytes = reinterpret_cast<const char*>(evbuffer_pullup(input, -1));
    auto parsed = parse_infer({bytes == nullptr ? "" : bytes, size}, description, *json_size);
    // While the request waits, nothing but its tensors is kept, which the queue counts.
    evbuffer_drain(input, size);
    if (!parsed) return refuse(request, model, 400, parsed.error().message);
    submit(request, model, std::move(*parsed));
}

void Service::submit(evhttp_request* request, Model& model, InferRequest parsed) {
    const auto id = ++last_id_;
    const auto now = Clock::now();
    const auto limit = std::min<std::chrono::microseconds>(
        config_.deadline, parsed.timeout.value_or(config_.deadline));
    // The job keeps all models of its time, and their libraries.
    Job job{id, {models_, &model}, std::move(parsed), now, now + limit};
    // A session is for one thread at a time.
    if (quick(model, job.request) && worker_.idle(&model)) {
        auto done = run_job(job);
        fit(request, done);
        answer(request, done);
        return record(done);
    }
    if (!worker_.submit(std::move(job))) {
        add_header(request, "Retry-After", "1");
        return refuse(request, model, 503, "the queue is full");
    }
    watch_.start();
    waiting_[id] = request;
    connections_.begin(request);
    evhttp_connection_set_closecb(evhttp_request_get_connection(request), on_close, this);
}

void Service::fit(evhttp_request* request, Answer& answer) {
    const auto size = answer.answer.body.size();
    if (size <= kSmallAnswer) return;
    const auto unsent = connections_.unsent();
    if (unsent == 0 || unsent + size <= kMaxUnsent) return;
    add_header(request, "Retry-After", "1");
    answer.status = 503;
    answer.answer = {dump({{"error", "too many answers wait for their clients"}})};
}

void Service::on_watch(void* self) { static_cast<Service*>(self)->watch(); }

void Service::watch() {
    if (!worker_.working()) return watch_.stop();
    const Model* model = worker_.end_longer_than(config_.run_limit, Clock::now());
    if (model == nullptr) return;
    // Nothing within the process can end it. Whoever supervises the server starts it anew.
    log_line(
        "error", "a model does not end, so the server does",
        {{"model", model->bundle.description.name}, {"run_limit_ms", config_.run_limit.count()}});
    stuck_ = true;
    event_base_loopbreak(base_);
}

void Service::on_wake(evutil_socket_t, short, void* context) {
    static_cast<Service*>(context)->answer_all();
}

void Service::answer_all() {
    wake_.clear();
    for (auto& each : worker_.collect()) {
        const auto found = waiting_.find(each.id);
        if (found != waiting_.end()) {  // else the client left
            evhttp_request* request = found->second;
            waiting_.erase(found);
            evhttp_connection_set_closecb(evhttp_request_get_connection(request), nullptr, nullptr);
            connections_.end(request);
            fit(request, each);
            answer(request, each);
        }
        record(each);
    }
    end_if_idle();
}

void Service::record(const Answer& answer) {
    auto& model = *answer.model;
    const auto& description = model.bundle.description;
    metrics_.answered(description.name, answer.status, answer.waited, answer.ran);
    if (answer.ran.count() > 0) {
        model.pace.add(answer.ran, rows_of(description.inputs, answer.inputs));
    }
    if (answer.status == 500) {
        log_line("error", "inference failed",
                 {{"model", description.name}, {"answer", answer.answer.body}});
    }
    if (answer.status == 200 && models_->find(description.name) == &model) {
        metrics_.observe(model, answer.inputs, answer.outputs);
    }
}

void Service::answer(evhttp_request* request, const Answer& answer) {
    if (!answer.answer.json_size) return reply(request, answer.status, answer.answer.body);
    add_header(request, kBinaryHeader, std::to_string(*answer.answer.json_size));
    reply(request, answer.status, answer.answer.body, "application/octet-stream");
}

// The library frees the requests of a closed connection.
void Service::on_close(evhttp_connection* connection, void* context) {
    auto* self = static_cast<Service*>(context);
    std::erase_if(self->waiting_, [&](const auto& entry) {
        if (evhttp_request_get_connection(entry.second) != connection) return false;
        self->worker_.cancel(entry.first);
        return true;
    });
    self->end_if_idle();
}

void Service::end_if_idle() {
    if (!stopping_ || ended_ || !waiting_.empty() || connections_.unsent() > 0) return;
    ended_ = true;
    // Time for who has just begun to ask, to hear that it is too late.
    const timeval soon{0, 100000};
    event_base_loopexit(base_, &soon);
}

std::size_t body_limit(const Models& models) {
    std::size_t most = 1 << 16;
    for (const auto& model : models.all()) {
        most = std::max(most, request_limit(model->bundle.description));
    }
    return most;
}

}  // namespace inferd
