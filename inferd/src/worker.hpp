// Runs inference jobs beside the event loop: a bounded queue, and threads that run several models
// at once but each model only once.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "models.hpp"
#include "protocol.hpp"

namespace inferd {

using Clock = std::chrono::steady_clock;

struct Job {
    std::uint64_t id;
    std::shared_ptr<Model> model;
    InferRequest request;
    Clock::time_point arrived = Clock::now();
    Clock::time_point deadline = Clock::time_point::max();  // to have begun
};

struct Answer {
    std::uint64_t id;
    int status;
    InferAnswer answer;
    std::shared_ptr<Model> model;
    std::chrono::duration<double> waited{};
    std::chrono::duration<double> ran{};
    std::vector<Tensor> inputs = {};  // what was asked and answered, where it succeeded
    std::vector<Tensor> outputs = {};
};

// Runs a job, in the thread that calls; one whose deadline has passed is answered without.
Answer run_job(Job& job);

class Worker {
  public:
    // Most bytes of tensors and ids that may wait, unless they are of one request a model.
    static constexpr std::size_t kMaxBytes = 64 << 20;

    // `capacity` is how many jobs of a model may wait. `wake` is called when there is an answer to
    // collect, from any thread.
    Worker(std::size_t capacity, std::size_t threads, std::function<void()> wake);
    // Finishes what is queued.
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // False when the queue is full, by the model's jobs that wait or by the bytes of all; one job
    // of a model may always wait.
    bool submit(Job job);
    // Has so many threads from now on, or more.
    void use(std::size_t threads);
    // Forgets a job that has not begun.
    void cancel(std::uint64_t id);
    // Answers all whose deadline has passed.
    void expire(Clock::time_point now);
    std::vector<Answer> collect();
    std::size_t waiting() const;
    // Whether the worker neither runs this model nor will, unless it is given another job.
    bool idle(Model* model) const;
    // Whether anything runs or waits.
    bool working() const;
    // Asks runs that have lasted longer than this to end; gives a model whose run goes on all the
    // same kGrace later, or nothing.
    static constexpr std::chrono::seconds kGrace{5};
    const Model* end_longer_than(Clock::duration limit, Clock::time_point now);

  private:
    void run();
    std::optional<Job> take();

    const std::size_t capacity_;
    std::function<void()> wake_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Job> jobs_;
    std::map<Model*, Clock::time_point> busy_;  // since when
    std::vector<Answer> answers_;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace inferd
