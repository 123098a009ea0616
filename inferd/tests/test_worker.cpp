#include <doctest/doctest.h>

#include <atomic>
#include <future>

#include "fixtures.hpp"
#include "worker.hpp"

namespace inferd {
namespace {

// A runtime without a library: waits for its gate, then gives its input back, or fails.
class Echo final : public Session {
  public:
    Echo(std::shared_future<void> gate, bool fails) : gate_(std::move(gate)), fails_(fails) {}
    Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) override {
        gate_.wait();
        if (ended_) return Error{"ended", "the model took too long"};
        if (fails_) return Error{"", "the model broke"};
        return inputs;
    }
    void end() override { ended_ = true; }
    std::string provider() const override { return "Echo"; }

  private:
    std::shared_future<void> gate_;
    bool fails_;
    std::atomic<bool> ended_ = false;
};

struct Setup {
    explicit Setup(bool fails = false)
        : model(new Model{{}, nullptr, std::make_unique<Echo>(open.get_future().share(), fails)}) {}
    Job job(std::uint64_t id) {
        return {id, model, {"", {tensor<float>(DType::kF32, {1}, {static_cast<float>(id)})}, {}}};
    }
    std::promise<void> open;
    std::shared_ptr<Model> model;
    std::atomic<int> woken = 0;
};

TEST_CASE("a full queue refuses, and all that was accepted is answered at the end") {
    Setup setup;
    std::vector<Answer> answers;
    int accepted = 0;
    {
        Worker worker(2, 2, [&] { ++setup.woken; });
        for (std::uint64_t id = 1; id <= 10; ++id) accepted += worker.submit(setup.job(id)) ? 1 : 0;
        CHECK(accepted >= 2);
        CHECK(accepted <= 3);  // two wait, one may have started
        setup.open.set_value();
        while (setup.woken < accepted) std::this_thread::yield();
        answers = worker.collect();
    }
    CHECK(static_cast<int>(answers.size()) == accepted);
    CHECK(answers[0].id == 1);
    CHECK(answers[0].status == 200);
    CHECK(answers[1].id == 2);
}

TEST_CASE("no more bytes wait than there may be, but one request of any size may") {
    Setup setup;
    const auto job = [&](std::uint64_t id, std::size_t bytes) {
        return Job{
            id, setup.model, {"", {{"t", DType::kU8, {}, std::vector<std::byte>(bytes)}}, {}}};
    };
    Worker worker(8, 1, [&] { ++setup.woken; });
    REQUIRE(worker.submit(job(1, 1)));
    while (worker.waiting() > 0) std::this_thread::yield();
    CHECK(worker.submit(job(2, Worker::kMaxBytes + 1)));
    CHECK_FALSE(worker.submit(job(3, 1)));
    worker.cancel(2);
    CHECK(worker.submit(job(4, Worker::kMaxBytes / 2)));
    CHECK(worker.submit(job(5, Worker::kMaxBytes / 2)));
    CHECK_FALSE(worker.submit(job(6, 1)));
    auto named = job(7, 0);
    CHECK(worker.submit(named));
    named.request.id = "a";
    CHECK_FALSE(worker.submit(named));
    setup.open.set_value();
    while (setup.woken < 4) std::this_thread::yield();
}

TEST_CASE("a model whose queue is full does not keep others from theirs") {
    Setup setup;
    Setup other;
    Worker worker(1, 1, [&] { ++setup.woken; });
    REQUIRE(worker.submit(setup.job(1)));
    while (worker.waiting() > 0) std::this_thread::yield();
    CHECK(worker.submit(setup.job(2)));
    CHECK_FALSE(worker.submit(setup.job(3)));
    CHECK(worker.submit(other.job(4)));
    CHECK_FALSE(worker.submit(other.job(5)));
    setup.open.set_value();
    other.open.set_value();
    while (setup.woken < 3) std::this_thread::yield();
}

TEST_CASE("a run that lasts too long is asked to end, and named if it does not") {
    using std::chrono::seconds;
    Setup setup;
    Worker worker(1, 1, [&] { ++setup.woken; });
    CHECK_FALSE(worker.working());
    REQUIRE(worker.submit(setup.job(1)));
    CHECK(worker.working());
    while (worker.waiting() > 0) std::this_thread::yield();
    const auto later = Clock::now() + seconds(10);
    CHECK(worker.end_longer_than(seconds(11), later) == nullptr);
    CHECK(worker.end_longer_than(seconds(9), later) == nullptr);
    CHECK(worker.end_longer_than(seconds(9), later + Worker::kGrace) == setup.model.get());
    setup.open.set_value();
    while (setup.woken < 1) std::this_thread::yield();
    CHECK_FALSE(worker.working());
    const auto answers = worker.collect();
    REQUIRE(answers.size() == 1);
    CHECK(answers[0].status == 504);
    CHECK(answers[0].answer.body == R"({"error":"the model took too long"})");
}

TEST_CASE("the end of the worker waits for what is queued") {
    Setup setup;
    setup.open.set_value();
    {
        Worker worker(8, 2, [&] { ++setup.woken; });
        for (std::uint64_t id = 1; id <= 5; ++id) REQUIRE(worker.submit(setup.job(id)));
    }
    CHECK(setup.woken == 5);
}

TEST_CASE("a model is idle before its first job and after its last") {
    Setup setup;
    Setup other;
    Worker worker(8, 1, [&] { ++setup.woken; });
    CHECK(worker.idle(setup.model.get()));
    REQUIRE(worker.submit(setup.job(1)));
    REQUIRE(worker.submit(other.job(2)));  // waits for the only thread
    CHECK_FALSE(worker.idle(setup.model.get()));
    CHECK_FALSE(worker.idle(other.model.get()));
    worker.cancel(2);
    CHECK(worker.idle(other.model.get()));
    setup.open.set_value();
    while (setup.woken < 1) std::this_thread::yield();
    CHECK(worker.idle(setup.model.get()));
    other.open.set_value();
}

TEST_CASE("more threads run more models at once") {
    Setup setup;
    Setup other;
    Worker worker(8, 1, [&] { ++setup.woken; });
    REQUIRE(worker.submit(setup.job(1)));
    REQUIRE(worker.submit(other.job(2)));
    while (worker.waiting() > 1) std::this_thread::yield();
    worker.use(2);
    other.open.set_value();
    while (setup.woken < 1) std::this_thread::yield();
    CHECK(worker.collect()[0].id == 2);
    setup.open.set_value();
}

TEST_CASE("a job that is too late does not run") {
    Setup setup;
    auto job = setup.job(1);
    job.deadline = Clock::now() - std::chrono::milliseconds(1);
    const auto answer = run_job(job);  // would wait for ever
    CHECK(answer.status == 504);
    CHECK(answer.ran.count() == 0);
}

TEST_CASE("a model that fails is an answer") {
    Setup setup(true);
    setup.open.set_value();
    Worker worker(2, 2, [&] { ++setup.woken; });
    REQUIRE(worker.submit(setup.job(1)));
    while (setup.woken < 1) std::this_thread::yield();
    const auto answers = worker.collect();
    REQUIRE(answers.size() == 1);
    CHECK(answers[0].status == 500);
    CHECK(answers[0].answer.body == R"({"error":"the model broke"})");
}

}  // namespace
}  // namespace inferd
