#include "worker.hpp"

#include <algorithm>
#include <utility>

namespace inferd {
namespace {

std::size_t bytes_of(const Job& job) {
    std::size_t bytes = job.request.id.size();
    for (const auto& tensor : job.request.inputs) bytes += tensor.data.size();
    return bytes;
}

Answer late(Job& job) {
    return {job.id,
            504,
            {dump({{"error", "the deadline passed before the model was free"}})},
            std::move(job.model),
            Clock::now() - job.arrived};
}

}  // namespace

Answer run_job(Job& job) {
    const auto begun = Clock::now();
    if (begun > job.deadline) return late(job);
    auto outputs = job.model->session->run(job.request.inputs);
    const auto ended = Clock::now();
    const auto waited = begun - job.arrived;
    if (!outputs) {
        const auto& error = outputs.error();
        const int status = error.code == "ended" ? 504 : 500;
        return {job.id,    status, {dump({{"error", error.message}})},
                job.model, waited, ended - begun};
    }
    auto reply = infer_answer(job.model->bundle.description, job.request, *outputs);
    if (!reply) {
        return {job.id,    400,    {dump({{"error", reply.error().message}})},
                job.model, waited, ended - begun};
    }
    return {job.id,
            200,
            std::move(*reply),
            job.model,
            waited,
            ended - begun,
            std::move(job.request.inputs),
            std::move(*outputs)};
}

Worker::Worker(std::size_t capacity, std::size_t threads, std::function<void()> wake)
    : capacity_(capacity), wake_(std::move(wake)) {
    use(threads);
}

Worker::~Worker() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
}

void Worker::use(std::size_t threads) {
    while (threads_.size() < threads) threads_.emplace_back([this] { run(); });
}

bool Worker::submit(Job job) {
    {
        const std::lock_guard lock(mutex_);
        std::size_t bytes = bytes_of(job);
        std::size_t same = 0;
        for (const auto& each : jobs_) {
            bytes += bytes_of(each);
            if (each.model == job.model) ++same;
        }
        if (same >= capacity_ || (same > 0 && bytes > kMaxBytes)) return false;
        jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
    return true;
}

void Worker::cancel(std::uint64_t id) {
    const std::lock_guard lock(mutex_);
    std::erase_if(jobs_, [id](const Job& job) { return job.id == id; });
}

void Worker::expire(Clock::time_point now) {
    {
        const std::lock_guard lock(mutex_);
        const auto before = answers_.size();
        for (auto& job : jobs_) {
            if (job.deadline < now) answers_.push_back(late(job));
        }
        // What is answered has lost its model.
        std::erase_if(jobs_, [](const Job& job) { return job.model == nullptr; });
        if (answers_.size() == before) return;
    }
    wake_();
}

std::vector<Answer> Worker::collect() {
    const std::lock_guard lock(mutex_);
    return std::exchange(answers_, {});
}

std::size_t Worker::waiting() const {
    const std::lock_guard lock(mutex_);
    return jobs_.size();
}

bool Worker::idle(Model* model) const {
    const std::lock_guard lock(mutex_);
    return !busy_.contains(model) &&
           std::none_of(jobs_.begin(), jobs_.end(),
                        [model](const Job& job) { return job.model.get() == model; });
}

bool Worker::working() const {
    const std::lock_guard lock(mutex_);
    return !busy_.empty() || !jobs_.empty();
}

const Model* Worker::end_longer_than(Clock::duration limit, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    for (const auto& [model, since] : busy_) {
        if (now - since > limit) model->session->end();
        if (now - since > limit + kGrace) return model;
    }
    return nullptr;
}

std::optional<Job> Worker::take() {
    const auto found = std::find_if(jobs_.begin(), jobs_.end(), [this](const Job& job) {
        return !busy_.contains(job.model.get());
    });
    if (found == jobs_.end()) return std::nullopt;
    Job job = std::move(*found);
    jobs_.erase(found);
    busy_[job.model.get()] = Clock::now();
    return job;
}

void Worker::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        auto job = take();
        if (!job) {
            // Those that still run a model come back for its other jobs.
            if (stopping_) return;
            changed_.wait(lock);
            continue;
        }
        lock.unlock();
        Answer result = run_job(*job);
        lock.lock();
        busy_.erase(result.model.get());
        answers_.push_back(std::move(result));
        wake_();
        changed_.notify_one();
    }
}

}  // namespace inferd
