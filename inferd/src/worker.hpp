// Runs inference jobs beside the event loop: a bounded queue and one thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "models.hpp"
#include "protocol.hpp"

namespace inferd {

struct Job {
    std::uint64_t id;
    Model* model;
    InferRequest request;
};

struct Answer {
    std::uint64_t id;
    int status;
    std::string body;
};

class Worker {
  public:
    // `wake` is called from the worker's thread when there is an answer to collect.
    Worker(std::size_t capacity, std::function<void()> wake);
    // Finishes what is queued.
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // False when the queue is full.
    bool submit(Job job);
    std::vector<Answer> collect();

  private:
    void run();

    const std::size_t capacity_;
    std::function<void()> wake_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Job> jobs_;
    std::vector<Answer> answers_;
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace inferd
