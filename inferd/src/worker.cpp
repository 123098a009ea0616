#include "worker.hpp"

#include <utility>

namespace inferd {
namespace {

Answer answer(Job& job) {
    const std::lock_guard lock(job.model->running);
    const auto outputs = job.model->session->run(job.request.inputs);
    if (!outputs) return {job.id, 500, dump({{"error", outputs.error().message}})};
    const auto& description = job.model->bundle.description;
    return {job.id, 200, dump(infer_answer(description, job.request, *outputs))};
}

}  // namespace

Worker::Worker(std::size_t capacity, std::function<void()> wake)
    : capacity_(capacity), wake_(std::move(wake)), thread_([this] { run(); }) {}

Worker::~Worker() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

bool Worker::submit(Job job) {
    {
        const std::lock_guard lock(mutex_);
        if (jobs_.size() >= capacity_) return false;
        jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
    return true;
}

std::vector<Answer> Worker::collect() {
    const std::lock_guard lock(mutex_);
    return std::exchange(answers_, {});
}

void Worker::run() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
        if (jobs_.empty()) return;
        Job job = std::move(jobs_.front());
        jobs_.pop_front();
        lock.unlock();
        Answer result = answer(job);
        lock.lock();
        answers_.push_back(std::move(result));
        wake_();
    }
}

}  // namespace inferd
