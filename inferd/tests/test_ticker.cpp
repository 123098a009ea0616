#include <doctest/doctest.h>

#include "loop.hpp"
#include "ticker.hpp"

namespace inferd {
namespace {

using std::chrono::milliseconds;

TEST_CASE("a ticker calls again and again, from its start to its stop") {
    const Base base = make_loop();
    int beats = 0;
    Ticker ticker(
        base.get(), milliseconds(5), [](void* count) { ++*static_cast<int*>(count); }, &beats);
    const auto wait = [&] {
        const auto end = std::chrono::steady_clock::now() + milliseconds(50);
        run_until(base.get(), [&] { return std::chrono::steady_clock::now() > end; });
    };
    wait();
    CHECK(beats == 0);
    ticker.start();
    CHECK(run_until(base.get(), [&] { return beats >= 3; }));
    ticker.stop();
    const int before = beats;
    wait();
    CHECK(beats == before);
    ticker.start();
    CHECK(run_until(base.get(), [&] { return beats > before; }));
}

TEST_CASE("a ticker that is started again and again beats nevertheless") {
    const Base base = make_loop();
    int beats = 0;
    Ticker ticker(
        base.get(), milliseconds(30), [](void* count) { ++*static_cast<int*>(count); }, &beats);
    CHECK(run_until(base.get(), [&] {
        ticker.start();
        return beats > 0;
    }));
}

}  // namespace
}  // namespace inferd
