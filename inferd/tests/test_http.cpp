#include <doctest/doctest.h>
#include <poll.h>

#include <thread>

#include "http.hpp"

using namespace inferd;

namespace {

bool readable(const EventFd& event) {
    pollfd entry{event.get(), POLLIN, 0};
    return ::poll(&entry, 1, 0) == 1;
}

}  // namespace

TEST_CASE("an event is seen until it is cleared, however often it was raised") {
    const EventFd event;
    CHECK_FALSE(readable(event));
    event.raise();
    event.raise();
    CHECK(readable(event));
    event.clear();
    CHECK_FALSE(readable(event));
    event.clear();
    CHECK_FALSE(readable(event));
}

TEST_CASE("another thread wakes a loop") {
    const EventFd event;
    const Base base(event_base_new());
    bool woken = false;
    const Event watch(event_new(
        base.get(), event.get(), EV_READ,
        [](evutil_socket_t, short, void* flag) { *static_cast<bool*>(flag) = true; }, &woken));
    const timeval limit{10, 0};
    event_add(watch.get(), nullptr);
    event_base_loopexit(base.get(), &limit);
    std::thread other([&event] { event.raise(); });
    event_base_loop(base.get(), EVLOOP_ONCE);
    other.join();
    CHECK(woken);
}
